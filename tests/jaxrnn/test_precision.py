"""What runs in which precision: products in the weights' dtype, gates and states in float32."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import all_cells, assert_close, every_row_once, random_params, random_state, random_xs

import jaxrnn

pytestmark = pytest.mark.usefixtures("strict_dtypes")


def dtypes(tree):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


@pytest.mark.pairs
@every_row_once
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("inputs", ["float32", "bfloat16", "float64", "int32"])
def test_dtypes_of_inputs_weights_and_states(cell, engine, weights, inputs):
    """Any input; states and outputs are float32, or float64 with such weights."""
    wide = "float64" if weights == "float64" else "float32"
    with jax.enable_x64("float64" in (weights, inputs)):
        params, xs = random_params(cell, dtype=weights), random_xs(dtype="float32")
        xs = xs.astype(inputs)
        state = random_state(cell, dtype=weights)
        first = jaxrnn.initial_state(cell, params, (6,))

        @jax.jit
        def answers(params, xs, starts):
            run = functools.partial(jaxrnn.unroll, cell, params, xs, engine=engine)
            return (
                [run(start, lengths=np.full(6, 5)) for start in starts],
                jaxrnn.step(cell, params, first, xs[:, 0]),
                jax.grad(lambda params: jnp.sum(run.func(cell, params, xs, engine=engine)[1]))(
                    params
                ),
            )

        *states, gradient = answers(params, xs, (None, state, first))
        assert dtypes(states) == {wide}
        assert dtypes(gradient) == {weights}


@all_cells
def test_states_keep_their_dtype_through_a_scan_of_steps(cell):
    """The carry of a user's own `lax.scan`, which fails where a dtype changes."""
    for dtype in ("float32", "bfloat16"):
        params, xs = random_params(cell, dtype=dtype), random_xs(dtype=dtype)

        def body(state, x, params=params):
            return jaxrnn.step(cell, params, state, x)

        state = jaxrnn.initial_state(cell, params, (6,))
        ends, hs = jax.lax.scan(body, state, jnp.moveaxis(xs, 1, 0))
        expected = jaxrnn.unroll(cell, params, xs)
        assert dtypes(ends) == dtypes(state) == {"float32"}
        assert_close((ends, jnp.moveaxis(hs, 0, 1)), expected)


@all_cells
def test_bfloat16_products_stay_close_over_200_steps(cell):
    """Against float32 products of the same (rounded) numbers: only the recurrent h is rounded more.

    h within 1e-3 rms of float32; a state in bfloat16 would be off by ten times as much, and is, if
    the state is rounded after every step.
    """
    weights = jaxrnn.init(jax.random.key(0), cell, 32, 64, dtype="bfloat16")
    xs = jax.random.normal(jax.random.key(1), (8, 200, 32), jnp.bfloat16)
    _, hs = jaxrnn.unroll(cell, weights, xs)
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), weights)
    _, expected = jaxrnn.unroll(cell, exact, xs)
    rms = float(jnp.sqrt(jnp.mean((hs - expected) ** 2)))
    assert rms < RMS[cell.name], rms
    assert rms > 1e-5, "nothing was computed in bfloat16"


# The outputs of ReLURNN go above 1, and so does what is rounded.
RMS = {"rnn": 1e-3, "lstm": 1e-3, "gru": 1e-3, "relu_rnn": 2e-3}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_16_bit_weights_meet_numbers_of_16_bits(cell, dtype, batch):
    """The default engine equals a loop in float64 that rounds x and h, and nothing else.

    Within 1e-5, as in float32: where a sum's last bit decided how h is rounded, the difference
    would be 1e-3; the numbers are drawn so that there is no such h.
    """
    cell, steps = jaxrnn.CELLS[cell], 5
    params = random_params(cell, inputs=7, units=17, dtype=dtype)
    xs = random_xs(batch=(batch,), steps=steps, inputs=7)
    _, hs = jaxrnn.unroll(cell, params, xs)
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    state = [np.zeros((batch, 17)) for _ in cell.state._fields]
    for t in range(steps):
        gx = _rounded(xs[:, t], dtype) @ wide.wx + wide.bx
        gh = _rounded(state[0], dtype) @ wide.wh + (0 if wide.bh is None else wide.bh)
        state = _updated(cell.name, gx, gh, state)
        assert_close(hs[:, t], state[0], 1e-5)


def _rounded(values, dtype):
    return np.asarray(np.asarray(values, np.float32).astype(jnp.dtype(dtype)), np.float64)


def _updated(name, gx, gh, state):
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    if name == "rnn":
        return [np.tanh(gx + gh)]
    if name == "lstm":
        i, f, g, o = np.split(gx + gh, 4, axis=1)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    (xr, xz, xn), (hr, hz, hn) = np.split(gx, 3, axis=1), np.split(gh, 3, axis=1)
    z, n = sigmoid(xz + hz), np.tanh(xn + sigmoid(xr + hr) * hn)
    return [(1 - z) * n + z * state[0]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_state_is_rounded_as_numpy_rounds(dtype):
    """Ties, subnormal numbers of 16 bits and their neighbours, through a product with 1."""
    kind = jnp.finfo(dtype)
    steps = np.arange(1, 64) / 4
    values = np.concatenate([
        steps * float(kind.smallest_subnormal) if dtype == "float16" else steps * 1e-30,
        (1 + steps * float(kind.eps)) / 8,
        float(kind.tiny) * (1 + steps * float(kind.eps)) if dtype == "float16" else steps / 64,
    ]).astype(np.float32)  # fmt: skip
    values = np.concatenate([values, -values, [0]]).astype(np.float32)
    units = values.size
    params = jaxrnn.Params(
        jnp.zeros((1, units), dtype), jnp.eye(units, dtype=dtype), jnp.zeros(units, dtype)
    )
    for batch in (1, 20):
        start = jaxrnn.State(jnp.broadcast_to(values, (batch, units)))
        xs = jnp.zeros((batch, 4 if batch > 6 else 1, 1))
        _, hs = jaxrnn.unroll(jaxrnn.SimpleRNN, params, xs, start)
        expected = np.tanh(_rounded(values, dtype))
        np.testing.assert_allclose(hs[-1, 0], expected, rtol=4e-7, atol=0)
