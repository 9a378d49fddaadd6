"""What is overridden or chosen in a cell is honoured: it is scanned, exactly on ragged batches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from fronts import traceable
from own_cells import (
    NNX_CELLS,
    OWN_CELLS,
    LinenNormed,
    NnxLearned,
    NnxZeroed,
    linen_cell,
    nnx_cell,
    normal,
)
from tables import assert_close, random_xs

import jaxrnn
from jaxrnn.flax import linen as our_linen
from jaxrnn.flax import nnx as our_nnx

LENGTHS = np.array([7, 0, 1, 6, 3, 7])
CELLS = ("SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell")


every_cell = pytest.mark.parametrize("build", OWN_CELLS.values(), ids=OWN_CELLS.keys())


@pytest.mark.pairs
@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("keep_order", [False, True])
def test_as_in_flax(build, reverse, keep_order):
    ours, theirs = build(return_carry=True, reverse=reverse, keep_order=keep_order)
    assert_close(ours(random_xs()), theirs(random_xs()))


@pytest.mark.pairs
@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("time_major", [False, True])
def test_each_sequence_is_alone(build, reverse, time_major):
    """Length 0 and NaN in the padding included; outputs there are zero."""
    ours, theirs = build(return_carry=True, reverse=reverse, keep_order=True)
    xs = np.array(random_xs())
    for row, length in enumerate(LENGTHS):
        xs[row, length:] = np.nan
    given = jnp.asarray(xs)
    carry, outputs = ours(
        jnp.moveaxis(given, 1, 0) if time_major else given,
        seq_lengths=LENGTHS, time_major=time_major,
    )  # fmt: skip
    outputs = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1) if time_major else a, outputs)
    first = ours(given[:, :0])[0]
    start = ours(jnp.zeros((6, 0, 5)))[0]
    assert_close(first, start, 0)
    for row, length in enumerate(LENGTHS):
        here = jax.tree.map(lambda a: a[row : row + 1], (carry, outputs, first))  # noqa: B023
        jax.tree.map(lambda a: np.testing.assert_array_equal(a[:, length:], 0), here[1])  # noqa: B023
        if length == 0:
            assert_close(here[0], here[2], 0)
            continue
        alone = theirs(given[row : row + 1, :length], initial_carry=here[2])
        assert_close((here[0], jax.tree.map(lambda a: a[:, :length], here[1])), alone)  # noqa: B023


@every_cell
def test_a_reset_returns_to_the_cells_own_carry(build):
    """Numbers that are not zero are resets."""
    ours, theirs = build(return_carry=True)
    xs, start = random_xs(), ours(random_xs()[:, :0])[0]
    carry = jax.tree.map(lambda a: a + 1, start)
    resets = np.zeros((6, 7), np.float32)
    resets[:, 3] = 0.5
    actual = ours(xs, initial_carry=carry, resets=resets)
    _, before = theirs(xs[:, :3], initial_carry=carry)
    end, after = theirs(xs[:, 3:], initial_carry=start)
    expected = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), before, after)
    assert_close(actual, (end, expected))


@pytest.mark.parametrize("build", [
    nnx_cell(lambda rngs: NnxLearned(5, 4, rngs=rngs)), linen_cell(LinenNormed(4)),
])  # fmt: skip
def test_gradients_are_flaxs(build):
    ours, theirs = build()
    xs = random_xs()
    actual, expected = [
        jax.grad(lambda xs, run=run: jnp.sum(jnp.sin(traceable(run)(xs))))(xs)
        for run in (ours, theirs)
    ]
    assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize("build", [
    nnx_cell(NNX_CELLS["gate_fn alone"]), linen_cell(LinenNormed(4)),
])  # fmt: skip
def test_nan_in_the_padding_reaches_no_gradient(build):
    ours, _ = build()
    xs = np.array(random_xs())
    for row, length in enumerate(LENGTHS):
        xs[row, length:] = np.nan

    def loss(xs):
        return jnp.sum(jnp.sin(traceable(ours)(xs, seq_lengths=LENGTHS)))

    gradient = jax.grad(loss)(jnp.asarray(xs))
    assert_close(gradient, jax.grad(loss)(jnp.nan_to_num(xs)))
    assert float(jnp.abs(gradient).max()) > 0.01


def test_what_all_sequences_have_in_common_goes_on():
    """A key and a counter in the carry, beside an array [batch, units]."""

    class Noisy(nn.RNNCellBase):
        num_feature_axes = 1

        @nn.compact
        def __call__(self, carry, inputs):
            h, key, steps = carry
            key, now = jax.random.split(key)
            h = jnp.tanh(nn.Dense(4)(inputs) + h) + jax.random.normal(now, h.shape)
            return (h, key, steps + 1), h

        @nn.nowrap
        def initialize_carry(self, rng, input_shape):
            return jnp.zeros((*input_shape[:-1], 4)), rng, 0

    build = linen_cell(Noisy())
    ours, theirs = build(return_carry=True)
    _, whole = theirs(random_xs())
    (h, _, steps), ys = ours(random_xs(), seq_lengths=LENGTHS)
    assert int(steps) == 7
    valid = np.arange(7)[:, None] < LENGTHS[:, None, None]
    assert_close(ys, np.where(valid, whole, 0))
    assert_close(h[0], whole[0, 6])
    assert_close(h[3], whole[3, 5])
    resets = np.zeros((6, 7)).astype(bool)
    resets[:, 0] = True
    assert_close(ours(random_xs(), resets=resets)[1], whole)


def test_a_learned_first_carry_has_a_gradient():
    """Though its cell's step is run by an engine."""
    modules = nnx_cell(NNX_CELLS["a learned first carry"])()

    def gradient(module):
        graph, params, rest = nnx.split(module, nnx.Param, ...)
        rest = jax.tree.map(jnp.copy, rest)
        loss = lambda p: jnp.sum(jnp.sin(nnx.merge(graph, p, rest)(random_xs())))  # noqa: E731
        return jax.tree.leaves(jax.grad(loss)(params))

    actual, expected = [gradient(m) for m in modules]
    assert float(jnp.abs(actual[-1]).max()) > 0.1
    assert_close(actual, expected, 1e-5)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_convolutions(lengths):
    """ConvLSTM has two more feature axes; a sequence of images is alone, too."""
    xs = jax.random.normal(jax.random.key(1), (6, 7, 4, 4, 2))
    cell = our_linen.ConvLSTMCell(3, (3, 3))
    theirs = nn.RNN(cell, return_carry=True)
    variables = theirs.init(jax.random.key(0), xs)
    ours = our_linen.RNN(cell, return_carry=True)
    carry, ys = ours.apply(variables, xs, seq_lengths=lengths)
    assert ys.shape == (6, 7, 4, 4, 3)
    for row, length in enumerate([7] * 6 if lengths is None else lengths):
        end, expected = theirs.apply(variables, xs[row : row + 1, : max(length, 1)])
        np.testing.assert_array_equal(ys[row, length:], 0)
        if length:
            assert_close(ys[row : row + 1, :length], expected, 1e-5)
            assert_close(jax.tree.map(lambda a: a[row : row + 1], carry), end, 1e-5)  # noqa: B023
        else:
            np.testing.assert_array_equal(carry[0][row], 0)


def test_a_layer_that_is_replaced_is_run():
    """LoRA in the place of a cell's Linear; a kernel that reads only `kernel` would lose it."""
    cell = our_nnx.GRUCell(5, 4, rngs=nnx.Rngs(0))
    plain = our_nnx.RNN(cell)(random_xs())
    cell.dense_h = nnx.LoRALinear(
        4, 12, lora_rank=2, b_initializer=normal, use_bias=False, rngs=nnx.Rngs(1)
    )
    hs = our_nnx.RNN(cell)(random_xs())
    assert not np.allclose(hs, plain)
    assert_close(hs, nnx.RNN(cell)(random_xs()))


def test_what_intercepts_the_calls_of_linens_modules_sees_them():
    ours = our_linen.RNN(our_linen.GRUCell(4))
    variables = ours.init(jax.random.key(0), random_xs())

    def doubled(call, args, options, context):
        result = call(*args, **options)
        return 2 * result if isinstance(context.module, nn.Dense) else result

    results = []
    for module in (ours, nn.RNN(nn.GRUCell(4))):
        with nn.intercept_methods(doubled):
            results.append(module.apply(variables, random_xs()))
    assert_close(*results)
    assert not np.allclose(results[0], ours.apply(variables, random_xs()))


def test_an_engine_is_refused_for_a_cell_that_is_scanned():
    message = "engine is Engine.*NnxZeroed has something of its own.*leave engine out"
    module = our_nnx.RNN(NnxZeroed(5, 4, rngs=nnx.Rngs(0)), engine=jaxrnn.engines.scan)
    with pytest.raises(ValueError, match=message):
        module(random_xs())


@pytest.mark.parametrize("library", [our_nnx, nnx], ids=["ours", "flax"])
@pytest.mark.parametrize("name", CELLS)
def test_flaxs_own_cells_run_on_the_engines_too(library, name):
    cell = getattr(library, name)(5, 4, rngs=nnx.Rngs(0))
    spies = []

    def spy(*args, **options):
        spies.append(args[0].name)
        return jaxrnn.engines.scan(*args, **options)

    hs = our_nnx.RNN(cell, engine=spy)(random_xs())
    assert len(spies) == 1
    assert_close(hs, nnx.RNN(cell)(random_xs()))
