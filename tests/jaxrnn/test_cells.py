"""Weights, states and the single step."""

import collections
import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import jaxtyping
import keras
import numpy as np
import pytest
from flax import nnx
from oracles import STEPS
from tables import (
    all_cells,
    assert_close,
    in_float64,
    random_params,
    random_state,
    random_xs,
)

import jaxrnn

pytestmark = pytest.mark.usefixtures("strict_dtypes")

KERAS = {
    "rnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "relu_rnn": functools.partial(keras.layers.SimpleRNN, activation="relu"),
}


@contextlib.contextmanager
def jaxtyping_off():
    """Without the checks of annotations, which only tests have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@all_cells
@pytest.mark.parametrize(("inputs", "units"), [(32, 32), (100, 64), (1, 1), (3, 7)])
def test_as_many_parameters_as_keras(cell, inputs, units):
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}  # quick to draw
    layer = KERAS[cell.name](units, **zeros)
    layer.build((None, None, inputs))
    params = jaxrnn.init(jax.random.key(0), cell, inputs, units)
    assert count(params) == layer.count_params()


def test_the_tutorials_parameter_counts():
    assert count(jaxrnn.init(jax.random.key(0), jaxrnn.LSTM, 32, 32)) == 8_320
    assert count(jaxrnn.init(jax.random.key(0), jaxrnn.SimpleRNN, 100, 64)) == 10_560


@all_cells
def test_one_step_equals_the_papers(cell):
    params, state = random_params(cell), random_state(cell)
    x = jnp.asarray(np.random.default_rng(3).normal(size=(6, 5)), "float32")
    after, h = jaxrnn.step(cell, params, state, x)
    for b in range(6):
        expected = STEPS[cell.name](
            in_float64(params), [np.asarray(f[b], np.float64) for f in state], np.float64(x[b])
        )
        assert_close([f[b] for f in after], list(expected))
    np.testing.assert_array_equal(h, after.h)


@all_cells
@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_a_reset_before_a_step_is_a_step_from_zero(cell, dtype):
    """As `resets` in `unroll`; the other rows go on, and no gradient passes the reset."""
    params, state = random_params(cell), random_state(cell)
    x = jnp.asarray(np.random.default_rng(3).normal(size=(6, 5)), "float32")
    reset = np.array([True, False, False, True, True, False])
    numbers = jnp.asarray(reset * 0.5 if dtype == "float32" else reset * 2, dtype)
    fresh = jaxrnn.initial_state(cell, params, (6,))
    onward, again = jaxrnn.step(cell, params, state, x), jaxrnn.step(cell, params, fresh, x)
    expected = jax.tree.map(lambda a, b: jnp.where(reset[:, None], b, a), onward, again)
    actual = jaxrnn.step(cell, params, state, x, reset=numbers)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    xs, resets = x[:, None], reset[:, None]
    end, hs = jaxrnn.unroll(cell, params, xs, state, resets=resets, engine=jaxrnn.engines.scan)
    assert_close(actual, (end, hs[:, 0]))
    by_state = jax.grad(lambda s: jnp.sum(jaxrnn.step(cell, params, s, x, reset=reset)[1]))(state)
    for field in by_state:
        np.testing.assert_array_equal(field[reset], 0)
        assert (field[~reset] != 0).all()


@all_cells
def test_recurrent_weights_are_orthogonal_for_each_gate(cell):
    params = jaxrnn.init(jax.random.key(0), cell, 5, 16)
    for gate in jnp.split(params.wh, cell.gates, axis=1):
        assert_close(gate @ gate.T, jnp.eye(16), 1e-5)  # float32 QR of 16 columns


@all_cells
def test_input_weights_are_glorot_uniform_for_each_gate(cell):
    params = jaxrnn.init(jax.random.key(0), cell, 200, 300)
    limit = np.sqrt(6 / (200 + 300))
    for gate in jnp.split(params.wx, cell.gates, axis=1):
        assert jnp.abs(gate).max() <= limit
        # The deviation of a uniform law; 60,000 draws put its estimate within 0.5%.
        np.testing.assert_allclose(gate.std(), limit / np.sqrt(3), rtol=0.01)


@all_cells
def test_biases_start_at_zero_but_the_forget_gates(cell):
    params = jaxrnn.init(jax.random.key(0), cell, 5, 4)
    expected = np.zeros(cell.gates * 4)
    if cell is jaxrnn.LSTM:
        expected[4:8] = 1
    np.testing.assert_array_equal(params.bx, expected)
    assert (params.bh is not None) == (cell is jaxrnn.GRU)


@all_cells
def test_different_keys_and_gates_draw_different_weights(cell):
    one, two = (jaxrnn.init(jax.random.key(seed), cell, 5, 5) for seed in (0, 1))
    blocks = [np.asarray(b) for p in (one, two) for b in jnp.split(p.wx, cell.gates, axis=1)]
    blocks += [np.asarray(b) for p in (one, two) for b in jnp.split(p.wh, cell.gates, axis=1)]
    assert len({block.tobytes() for block in blocks}) == len(blocks)


@all_cells
@pytest.mark.parametrize(("weights", "gates"), [("bfloat16", "float32"), ("float32", "float32")])
def test_states_are_at_least_float32(cell, weights, gates):
    params = jaxrnn.init(jax.random.key(0), cell, 5, 4, dtype=weights)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {weights}
    state = jaxrnn.initial_state(cell, params, (2,))
    after, h = jaxrnn.step(cell, params, state, jnp.ones((2, 5), weights))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((state, after, h))} == {gates}


@all_cells
@pytest.mark.parametrize("sizes", [(0, 4), (5, 0), (5, -1)])
def test_a_size_below_one_is_refused(cell, sizes):
    with pytest.raises(ValueError, match=r"size is (0|-1); it must be at least 1"):
        jaxrnn.init(jax.random.key(0), cell, *sizes)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "make", [np.float64, np.float32, nnx.Param], ids=lambda make: make.__name__
)
def test_weights_may_be_arrays_of_numpy_and_variables_of_flax(make):
    """As one has them from a file or in a module; in float64 of NumPy, too, without a warning."""
    cell, xs, state = jaxrnn.GRU, random_xs(), random_state(jaxrnn.GRU)
    params = random_params(cell)
    given = jaxrnn.Params(*[make(leaf) for leaf in params])
    with jaxtyping_off():
        actual = jaxrnn.step(cell, given, state, xs[:, 0]), jaxrnn.unroll(cell, given, xs)
    expected = jaxrnn.step(cell, params, state, xs[:, 0]), jaxrnn.unroll(cell, params, xs)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def by_hand(name, params, state, x):
    """The step as one writes it from the equations in a dozen lines of JAX."""
    gx = x @ params.wx + params.bx
    gh = state[0] @ params.wh
    gh = gh if params.bh is None else gh + params.bh
    sigmoid, tanh = jax.nn.sigmoid, jnp.tanh
    if name in ("rnn", "relu_rnn"):
        h = tanh(gx + gh) if name == "rnn" else jax.nn.relu(gx + gh)
        return (h,), h
    if name == "lstm":
        i, f, g, o = jnp.split(gx + gh, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h
    (xr, xz, xn), (hr, hz, hn) = jnp.split(gx, 3, axis=-1), jnp.split(gh, 3, axis=-1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    h = (1 - z) * tanh(xn + r * hn) + z * state[0]
    return (h,), h


@all_cells
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loop_of_steps_does_what_one_writes_by_hand_and_no_more(cell, dtype):
    """Operation by operation: nothing is checked, cast, copied or computed for nothing."""
    with jax.enable_x64(dtype == "float64"):
        params, state = random_params(cell, dtype=dtype), random_state(cell, dtype=dtype)
        x = jnp.ones((6, 5), dtype)

        def loop(step):
            def run(params, state, x):
                return jax.lax.while_loop(
                    lambda c: c[0] < 9, lambda c: (c[0] + 1, *step(params, c[1], x)[:1]), (0, state)
                )

            return run

        ours = loop(functools.partial(jaxrnn.step, cell))
        theirs = loop(functools.partial(by_hand, cell.name))
        texts = [
            jax.jit(run).lower(params, first, x).as_text()
            for run, first in ((ours, state), (theirs, tuple(state)))
        ]
        found, expected = (
            collections.Counter(re.findall(r"stablehlo\.(\w+).*?(tensor<[^>]*>)$", text, re.M))
            for text in texts
        )
        assert found == expected
        assert found["dot_general", f"tensor<6x{4 * cell.gates}xf{dtype[-2:]}>"] == 2
        assert_close(ours(params, state, x), theirs(params, tuple(state), x), 1e-5)


def test_the_slope_of_relu_is_nought_at_nought():
    """As that of `jax.nn.relu`: a unit that is just off gives no gradient, in every engine."""
    cell = jaxrnn.ReLURNN
    params = jaxrnn.Params(jnp.eye(3), jnp.zeros((3, 3)), jnp.zeros(3))
    xs = jnp.array([[[-1.0, 0.0, 1.0]]])
    for engine in (None, jaxrnn.engines.scan, jaxrnn.engines.fused):

        def total(xs, engine=engine):
            return jnp.sum(jaxrnn.unroll(cell, params, xs, engine=engine)[1])

        value, slope = jax.value_and_grad(total)(xs)
        assert value == 1
        np.testing.assert_array_equal(slope, [[[0, 0, 1]]])
        np.testing.assert_array_equal(jax.jacfwd(total)(xs), [[[0, 0, 1]]])


def test_relu_equals_keras_in_values_and_gradients():
    cell, xs = jaxrnn.ReLURNN, random_xs()
    layer = KERAS[cell.name](4, return_sequences=True)
    layer.build((None, None, 5))
    params = random_params(cell)
    layer.set_weights([params.wx, params.wh, params.bx])
    variables = [variable.value for variable in layer.trainable_variables]
    others = [variable.value for variable in layer.non_trainable_variables]

    def theirs(variables, xs):
        return jnp.sum(jnp.sin(layer.stateless_call(variables, others, xs)[0]))

    def ours(params, xs):
        return jnp.sum(jnp.sin(jaxrnn.unroll(cell, params, xs)[1]))

    expected, (by_variables, by_xs) = jax.value_and_grad(theirs, argnums=(0, 1))(variables, xs)
    value, (by_params, by_inputs) = jax.value_and_grad(ours, argnums=(0, 1))(params, xs)
    # Sums over 42 steps of numbers up to 10.
    assert_close((value, list(by_params[:3]), by_inputs), (expected, by_variables, by_xs), 1e-5)


def test_a_new_cell_is_one_row():
    """A leaky integrator, written as a user would: everything else comes with it."""

    def update(gx, gh, state):
        return jaxrnn.State(0.5 * state.h + 0.5 * jnp.tanh(gx + gh))

    leaky = jaxrnn.Cell("leaky", 1, jaxrnn.State, update)
    params = jaxrnn.init(jax.random.key(0), leaky, 3, 2)
    xs = jnp.ones((4, 6, 3))
    state, hs = jaxrnn.unroll(leaky, params, xs, lengths=jnp.array([6, 0, 3, 1]))
    h = np.zeros(2)
    for _ in range(3):
        h = 0.5 * h + 0.5 * np.tanh(np.ones(3) @ np.asarray(params.wx) + h @ np.asarray(params.wh))
    assert_close(state.h[2], h)
    assert_close(hs[2, 2], h)
