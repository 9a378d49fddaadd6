"""Stacks: depth, direction and dropout between layers, as the layers run one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import run_batch
from tables import (
    all_cells,
    assert_close,
    every_row_once,
    in_float64,
    random_params,
    random_state,
    random_xs,
)

import jaxrnn

pytestmark = pytest.mark.usefixtures("strict_dtypes")

LENGTHS = np.array([7, 0, 1, 6, 3, 7])


def random_stack(cell, bidirectional):
    """Two layers, biases away from zero."""
    directions = 2 if bidirectional else 1
    sizes = [5, 4 * directions]
    return tuple(
        tuple(random_params(cell, 10 * n + d, size) for d in range(directions))
        for n, size in enumerate(sizes)
    )


def oracle(cell, params, xs, lengths=None, resets=None):
    """The layers one by one in NumPy; `resets` cuts between two sequences in both directions."""
    states, hs = [], np.float64(xs)
    backward_resets = None
    if resets is not None:
        backward_resets = np.concatenate([resets[:, 1:], np.zeros_like(resets[:, :1])], axis=1)
    for layer in params:
        run = [
            run_batch(
                cell.name, in_float64(weights), hs, None, lengths,
                backward_resets if backward else resets, bool(backward),
            )
            for backward, weights in enumerate(layer)
        ]  # fmt: skip
        states.append([state for state, _ in run])
        hs = np.concatenate([outputs for _, outputs in run], axis=-1)
    return states, hs


@every_row_once
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_a_stack_is_its_layers_one_by_one(cell, engine, bidirectional, lengths):
    params, xs = random_stack(cell, bidirectional), random_xs()
    actual = jaxrnn.unroll_stack(cell, params, xs, lengths=lengths, engine=engine)
    assert_close(actual, oracle(cell, params, xs, lengths))


@pytest.mark.pairs
@every_row_once
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_are_each_alone(cell, engine, bidirectional):
    """Three sequences in one row, marked by `resets`, against three rows."""
    params, xs = random_stack(cell, bidirectional), random_xs(batch=(1,))
    parts = [slice(0, 3), slice(3, 4), slice(4, 7)]
    resets = np.zeros((1, 7), bool)
    resets[0, [part.start for part in parts]] = True
    run = functools.partial(jaxrnn.unroll_stack, cell, params, engine=engine)
    _, packed = run(xs, resets=resets)
    assert_close(packed, jnp.concatenate([run(xs[:, part])[1] for part in parts], axis=1))
    assert_close(packed, oracle(cell, params, xs, resets=resets)[1])


@pytest.mark.pairs
@every_row_once
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_ragged_packed_stack_is_each_sequence_alone(cell, engine, bidirectional):
    """Values and gradients, with first states, NaN and Inf in the padding, and resets there too."""
    # Each length compiles once more; two batch axes.
    lengths, batch = np.array([7, 0, 3, 3, 7, 3]), (2, 3)
    params, xs = random_stack(cell, bidirectional), random_xs()
    resets = np.random.default_rng(4).random((6, 7)) < 0.4
    resets[2:4, 3] = True  # just past two of the lengths
    junk = np.array([np.nan, np.inf, -np.inf, 1e30, np.nan, 0], "float32")[:, None, None]
    padded = jnp.where(np.arange(7)[None, :, None] < lengths[:, None, None], xs, junk)
    states = tuple(
        tuple(random_state(cell, seed=10 * n + d) for d, _ in enumerate(layer))
        for n, layer in enumerate(params)
    )

    def outputs(params, xs, states, lengths, resets):
        return jaxrnn.unroll_stack(
            cell, params, xs, states, lengths=lengths, resets=resets, engine=engine
        )

    def loss(*args):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(outputs(*args)))

    @jax.jit
    def both(*args):
        return outputs(*args), jax.grad(loss, argnums=(0, 1, 2))(*args)

    def shaped(tree):
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), tree)

    args = params, *shaped((padded, states, lengths, resets))
    (ends, hs), (by_params, by_xs, by_states) = both(*args)
    ends, hs, by_xs, by_states = jax.tree.map(
        lambda leaf: leaf.reshape(6, *leaf.shape[len(batch) :]), (ends, hs, by_xs, by_states)
    )
    total = jax.tree.map(jnp.zeros_like, params)
    for b, n in enumerate(lengths):
        row = slice(b, b + 1)
        alone = params, xs[row, :n], jax.tree.map(lambda a, row=row: a[row], states), None
        alone = *alone, resets[row, :n]
        (end, h), (own, own_xs, own_states) = both(*alone)
        at = jax.tree.map(lambda a, row=row: a[row], ends)
        assert_close(at, end)
        assert_close(hs[row, :n], h)
        np.testing.assert_array_equal(hs[b, n:], 0)
        total = jax.tree.map(jnp.add, total, own)
        # Through two layers and 7 steps, gradients of size 10: some roundings of 1e-6.
        assert_close(by_xs[row, :n], own_xs, 2e-5)
        np.testing.assert_array_equal(by_xs[b, n:], 0)
        at = jax.tree.map(lambda a, row=row: a[row], by_states)
        assert_close(at, own_states, 2e-5)
    assert_close(by_params, total, 5e-5)


@every_row_once
def test_states_go_in_as_they_come_out(cell, engine):
    params, xs = random_stack(cell, bidirectional=False), random_xs()
    run = functools.partial(jaxrnn.unroll_stack, cell, params, engine=engine)
    states, first = run(xs[:, :3])
    states, second = run(xs[:, 3:], states)
    assert_close((states, jnp.concatenate([first, second], axis=1)), run(xs))


@every_row_once
@pytest.mark.parametrize("time_major", [False, True])
def test_dropout_is_one_mask_a_sequence_between_layers(cell, engine, time_major):
    """The upper layer sees h * mask / (1 - rate), the mask the same at every step of a sequence."""
    inputs = []

    def spy(cell, params, xs, state, **options):
        inputs.append(xs)
        return engine(cell, params, xs, state, **options)

    params = jaxrnn.init_stack(jax.random.key(0), cell, 5, 64, num_layers=3)
    xs = random_xs(batch=(8,))
    if cell is jaxrnn.ReLURNN:  # all units on, so that what is zero was dropped
        params, xs = jax.tree.map(lambda a: jnp.abs(a) + 0.01, (params, xs))
    xs = jnp.moveaxis(xs, 1, 0) if time_major else xs
    run = functools.partial(jaxrnn.unroll_stack, cell, params, xs, time_major=time_major)
    run(dropout=0.25, key=jax.random.key(1), engine=spy)
    np.testing.assert_array_equal(inputs[0], xs if time_major else jnp.moveaxis(xs, 1, 0))
    _, below = jaxrnn.unroll(cell, params[0][0], inputs[0], time_major=True, engine=engine)
    mask = np.asarray(inputs[1]) != 0
    assert (mask == mask[:1]).all(), "the mask changes over time"
    assert not (mask[0, 0] == mask[0, 1]).all(), "two sequences share a mask"
    # 512 draws: five standard deviations of the kept share are 0.1.
    assert abs(mask[0].mean() - 0.75) < 0.1
    assert_close(inputs[1], np.asarray(below) * mask / 0.75)
    masks = [np.asarray(s)[0] != 0 for s in inputs[1:]]
    assert not (masks[0] == masks[1]).all(), "two layers share a mask"


@all_cells
def test_dropout_nought_needs_no_key_and_keys_decide_masks(cell):
    params, xs = random_stack(cell, bidirectional=True), random_xs()
    run = functools.partial(jaxrnn.unroll_stack, cell, params, xs)
    plain = run()[1]
    np.testing.assert_array_equal(run(dropout=0.0)[1], plain)
    one, again, two = (run(dropout=0.5, key=jax.random.key(k))[1] for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, plain)


@all_cells
def test_layers_start_different(cell):
    params = jaxrnn.init_stack(jax.random.key(0), cell, 8, 4, num_layers=3, bidirectional=True)
    wx = [np.asarray(direction.wx).tobytes() for layer in params for direction in layer]
    assert len(set(wx)) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"dropout": 0.5}, "dropout is 0.5, which needs a key"),
        ({"states": ((None,),)}, "states has 1 layers; params has 2"),
    ],
)
def test_bad_input_is_named(change, message):
    params = random_stack(jaxrnn.LSTM, bidirectional=False)
    with pytest.raises(ValueError, match=message):
        jaxrnn.unroll_stack(jaxrnn.LSTM, params, random_xs(), **change)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_layer_may_have_a_size_of_its_own(bidirectional):
    params = jaxrnn.init_stack(
        jax.random.key(0), jaxrnn.GRU, 5, [6, 3, 4], bidirectional=bidirectional
    )
    sizes = [[direction.wh.shape[0] for direction in layer] for layer in params]
    directions = 2 if bidirectional else 1
    assert sizes == [[6] * directions, [3] * directions, [4] * directions]
    xs = random_xs()
    assert_close(
        jaxrnn.unroll_stack(jaxrnn.GRU, params, xs, lengths=LENGTHS),
        oracle(jaxrnn.GRU, params, xs, LENGTHS),
    )


def test_equal_sizes_draw_what_one_size_draws():
    args = jax.random.key(3), jaxrnn.LSTM, 5
    one, two = jaxrnn.init_stack(*args, 4, 2), jaxrnn.init_stack(*args, (4, 4))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    jax.tree.map(np.testing.assert_array_equal, two, jaxrnn.init_stack(*args, [4, 4], 2))
    jax.tree.map(np.testing.assert_array_equal, two, jaxrnn.init_stack(*args, np.array([4, 4])))


def test_sizes_that_do_not_fit_are_refused():
    args = jax.random.key(0), jaxrnn.GRU, 5
    with pytest.raises(ValueError, match=r"num_layers is 3; hidden_size has 2 layers"):
        jaxrnn.init_stack(*args, [64, 32], 3)
    with pytest.raises(ValueError, match=r"hidden_size\[1\] is 0; it must be at least 1"):
        jaxrnn.init_stack(*args, [64, 0])
    with pytest.raises(ValueError, match="hidden_size has no layers"):
        jaxrnn.init_stack(*args, [])


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="num_layers is 0; it must be at least 1"):
        jaxrnn.init_stack(jax.random.key(0), jaxrnn.GRU, 5, 4, num_layers=0)
