"""What Flax's users rely on, in NNX and Linen: as in Flax where Flax is right, else exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fronts import BIDIRECTIONAL, FRONTS, as_carry, as_tuple, traceable
from oracles import run_batch
from tables import assert_close, every_cell, in_float64, random_state, random_xs

import jaxrnn
from jaxrnn.engines import choose, scan

every_front = pytest.mark.parametrize("front", FRONTS)
LENGTHS = np.array([7, 2, 1, 6, 3, 7])  # none is 0: there Flax gives a wrong carry
WITH_NONE = np.array([7, 0, 1, 6, 3, 0])
# Two libraries' float32 sums over 7 steps; their bodies are the same up to the order of sums.
TOLERANCE = 2e-6

DIRECTIONS = [
    {"reverse": False, "keep_order": False, "time_major": False},
    {"reverse": True, "keep_order": False, "time_major": False},
    {"reverse": True, "keep_order": False, "time_major": True},
    {"reverse": True, "keep_order": True, "time_major": True},
]
directions = pytest.mark.parametrize(
    "options",
    DIRECTIONS,
    ids=lambda options: "-".join(name for name, value in options.items() if value) or "plain",
)


def valid(hs, lengths, time_major=False):
    """Outputs with zeros past each sequence's length, where Flax leaves what it computed."""
    hs = np.asarray(hs)
    if lengths is None:
        return hs
    mask = np.arange(hs.shape[0 if time_major else -2])[:, None] < lengths[..., None, None]
    return np.where(np.moveaxis(mask, 1, 0) if time_major else mask, hs, 0)


def transposed(xs, time_major):
    return jnp.moveaxis(xs, -2, 0) if time_major else xs


@every_front
@every_cell
@directions
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_outputs_and_carry_are_flaxs(front, cell, options, lengths):
    """In every order of steps and axes, options of the constructor, from a given carry."""
    modules = FRONTS[front](cell, **options, return_carry=True)
    xs = transposed(random_xs(), options["time_major"])
    start = as_carry(cell, random_state(cell))
    ours = modules.ours(xs, seq_lengths=lengths, initial_carry=start)
    carry, hs = modules.theirs(xs, seq_lengths=lengths, initial_carry=start)
    assert_close(ours, (carry, valid(hs, lengths, options["time_major"])), TOLERANCE)
    np.testing.assert_array_equal(valid(ours[1], lengths, options["time_major"]), ours[1])


@every_front
@every_cell
@directions
def test_arguments_of_the_call_override_those_of_the_constructor(front, cell, options):
    xs = transposed(random_xs(), options["time_major"])
    call = options | {"return_carry": True}
    other = {name: not value for name, value in call.items()}
    expected = FRONTS[front](cell, **call).ours(xs, seq_lengths=LENGTHS)
    assert_close(FRONTS[front](cell, **other).ours(xs, seq_lengths=LENGTHS, **call), expected, 0)
    assert_close(
        FRONTS[front](cell, **options).ours(xs, seq_lengths=LENGTHS, return_carry=False),
        expected[1], 0,
    )  # fmt: skip


@every_front
@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_each_sequence_is_alone_length_0_included(front, cell, reverse):
    modules, xs, start = FRONTS[front](cell), random_xs(), random_state(cell)
    carry, hs = modules.ours(
        xs,
        seq_lengths=WITH_NONE,
        initial_carry=as_carry(cell, start),
        return_carry=True,
        reverse=reverse,
        keep_order=True,
    )
    final, outputs = run_batch(
        cell.name, in_float64(modules.params), in_float64(xs), in_float64(start), WITH_NONE,
        reverse=reverse,
    )  # fmt: skip
    assert_close((as_tuple(cell, carry), hs), (final, outputs))


@every_front
@every_cell
@directions
def test_batch_axes_any_number_of_them(front, cell, options):
    """Two axes, and none, against one; with lengths, which Flax cannot."""
    call = options | {"return_carry": True, "seq_lengths": LENGTHS}
    modules, xs, major = FRONTS[front](cell), random_xs(), options["time_major"]
    carry, hs = modules.ours(transposed(xs, major), **call)
    hs = np.moveaxis(hs, 0, -2) if major else hs
    two, hs_two = modules.ours(
        transposed(xs.reshape(2, 3, 7, 5), major), **call | {"seq_lengths": LENGTHS.reshape(2, 3)}
    )
    hs_two = np.moveaxis(hs_two, 0, -2) if major else hs_two
    assert_close(jax.tree.map(lambda a: a.reshape(6, 4), two), carry)
    assert_close(np.reshape(hs_two, (6, 7, 4)), hs)
    one, hs_one = modules.ours(xs[1], **call | {"seq_lengths": 2})
    assert_close(one, jax.tree.map(lambda a: a[1], carry))
    assert_close(hs_one, hs[1])


@every_front
@every_cell
@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_bidirectional(front, cell, time_major, lengths):
    """Forward half first; both carries; and as a layer of `unroll_stack`."""
    modules = BIDIRECTIONAL[front](cell, return_carry=True, time_major=time_major)
    xs = random_xs()
    call = {"seq_lengths": lengths}
    carries, hs = modules.ours(transposed(xs, time_major), **call)
    carries_theirs, hs_theirs = modules.theirs(transposed(xs, time_major), **call)
    assert_close((carries, hs), (carries_theirs, valid(hs_theirs, lengths, time_major)), TOLERANCE)
    states, stacked = jaxrnn.unroll_stack(cell, (tuple(modules.params),), xs, lengths=lengths)
    assert_close(hs, transposed(stacked, time_major))
    assert_close([as_tuple(cell, c) for c in carries], [tuple(state) for state in states[0]])


@every_front
def test_bidirectional_merges_by_a_function_and_takes_two_carries(front):
    cell, xs = jaxrnn.LSTM, random_xs()
    modules = BIDIRECTIONAL[front](cell, merge_fn=lambda a, b: a + 2 * b)
    starts = tuple(as_carry(cell, random_state(cell, seed)) for seed in (2, 3))
    actual = modules.ours(xs, initial_carry=starts)
    assert actual.shape == (6, 7, 4)
    assert_close(actual, modules.theirs(xs, initial_carry=starts), TOLERANCE)


@every_front
@every_cell
def test_unroll_compiles_several_steps_into_one_and_changes_nothing(front, cell):
    """The scan does; the engine that is chosen without being asked for stays chosen."""
    xs = random_xs()
    expected = FRONTS[front](cell).ours(xs, seq_lengths=LENGTHS)
    for engine in (None, scan):
        run = FRONTS[front](cell, unroll=3, engine=engine).ours
        assert_close(run(xs, seq_lengths=LENGTHS), expected)
        used = choose(cell, "float32") if engine is None else engine
        assert ("unroll=3" in str(jax.make_jaxpr(run)(xs))) == ("unroll" in dict(used.options))


@every_front
@every_cell
def test_gradients_are_flaxs(front, cell):
    """With respect to inputs and the initial carry."""
    modules, xs = FRONTS[front](cell), random_xs()
    start = as_carry(cell, random_state(cell))

    def gradient(run):
        def loss(xs, start):
            carry, hs = run(xs, initial_carry=start, seq_lengths=LENGTHS, return_carry=True)
            mask = jnp.arange(7)[:, None] < LENGTHS[:, None, None]
            return sum(
                jnp.sum(jnp.sin(a)) for a in jax.tree.leaves((carry, jnp.where(mask, hs, 0)))
            )

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(xs, start)

    # Each is a sum over up to 7 steps of the rounding above.
    assert_close(gradient(modules.ours), gradient(traceable(modules.theirs)), 1e-5)


@every_front
@every_cell
def test_products_in_bfloat16_with_weights_in_float32(front, cell):
    """h stays within 1e-2 of float32: the products' factors have 8 bits, over 7 steps."""
    xs, call = random_xs(), {"return_carry": True, "seq_lengths": LENGTHS}
    carry, hs = FRONTS[front](cell, dtype=jnp.bfloat16).ours(xs, **call)
    # As in Flax, whose SimpleCell keeps nothing of a carry, and gives what its products gave.
    dtype = "bfloat16" if cell is jaxrnn.SimpleRNN else "float32"
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((carry, hs))} == {dtype}
    _, hs_32 = FRONTS[front](cell).ours(xs, **call)
    assert not np.array_equal(hs, hs_32), "nothing ran in bfloat16"
    assert np.sqrt(np.mean((hs - hs_32) ** 2)) < 1e-2
    again = FRONTS[front](cell, dtype=jnp.bfloat16).ours(xs.astype(jnp.bfloat16), **call)
    assert_close(again, (carry, hs))  # the inputs are rounded to bfloat16 in any case


@every_front
def test_lengths_are_checked(front):
    run = FRONTS[front](jaxrnn.GRU).ours
    with pytest.raises(ValueError, match="lengths holds 8; xs has 7 steps"):
        run(random_xs(), seq_lengths=np.array([7, 8, 1, 6, 3, 7]))
