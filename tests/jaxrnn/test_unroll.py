"""The laws of `unroll`, over the table of cells x engines."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import test_util as jax_test_util
from jax.test_util import check_grads
from oracles import run_batch
from tables import (
    TOLERANCE,
    assert_close,
    every_row,
    every_row_once,
    in_float64,
    random_params,
    random_state,
    random_xs,
)

import jaxrnn

pytestmark = pytest.mark.usefixtures("strict_dtypes")

LENGTHS = np.array([7, 0, 1, 6, 3, 7])
RESETS = np.random.default_rng(4).random((6, 7)) < 0.3

options = pytest.mark.parametrize(
    ("lengths", "resets", "reverse"),
    [(n, r, d) for n in (None, LENGTHS) for r in (None, RESETS) for d in (False, True)],
    ids=[
        f"{n}{r}{d}" for n in ("full", "ragged") for r in ("", "-resets") for d in ("", "-reverse")
    ],
)


@every_row
@options
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_oracle(cell, engine, lengths, resets, reverse, dtype):
    """Equals a NumPy float64 loop written from the papers, each sequence alone."""
    with jax.enable_x64(dtype == "float64"):
        params, xs = random_params(cell, dtype=dtype), random_xs(dtype=dtype)
        state = random_state(cell, dtype=dtype)
        for start in (None, state):
            actual = jaxrnn.unroll(
                cell,
                params,
                xs,
                start,
                lengths=lengths,
                resets=resets,
                reverse=reverse,
                engine=engine,
            )
            assert {str(leaf.dtype) for leaf in jax.tree.leaves(actual)} == {dtype}
            expected = run_batch(
                cell.name,
                in_float64(params),
                in_float64(xs),
                None if start is None else in_float64(start),
                lengths,
                resets,
                reverse,
            )
            assert_close(actual, expected, TOLERANCE[dtype])


@every_row
def test_fold(cell, engine):
    """`unroll` is a Python loop of `step`."""
    params, xs = random_params(cell), random_xs()
    state, expected = jaxrnn.initial_state(cell, params, (6,)), []
    for t in range(7):
        state, h = jaxrnn.step(cell, params, state, xs[:, t])
        expected.append(h)
    assert_close(jaxrnn.unroll(cell, params, xs, engine=engine), (state, jnp.stack(expected, 1)))


@every_row
def test_fold_with_resets(cell, engine):
    """`resets` of `unroll` are the `reset` of each `step`."""
    params, xs, state, expected = random_params(cell), random_xs(), random_state(cell), []
    start = state
    for t in range(7):
        state, h = jaxrnn.step(cell, params, state, xs[:, t], reset=RESETS[:, t])
        expected.append(h)
    actual = jaxrnn.unroll(cell, params, xs, start, resets=RESETS, engine=engine)
    assert_close(actual, (state, jnp.stack(expected, 1)))


@every_row_once
@pytest.mark.parametrize("cut", range(8))
def test_split(cell, engine, cut):
    """Running [0, t) and then [t, T) is running [0, T), ragged batches and resets included."""
    params, xs = random_params(cell), random_xs()
    run = functools.partial(jaxrnn.unroll, cell, params, engine=engine)
    whole = run(xs, lengths=LENGTHS, resets=RESETS)
    state, first = run(xs[:, :cut], lengths=np.minimum(LENGTHS, cut), resets=RESETS[:, :cut])
    state, second = run(
        xs[:, cut:], state, lengths=np.maximum(LENGTHS - cut, 0), resets=RESETS[:, cut:]
    )
    assert_close((state, jnp.concatenate([first, second], 1)), whole)


@every_row_once
@pytest.mark.parametrize("chunks", [[1] * 7, [1, 6], [3, 1, 1, 2], [2, 5], [0, 4, 0, 3]])
def test_streaming(cell, engine, chunks):
    """A stream served as it comes, single steps by `step`, is `unroll` at any chunking."""
    params, xs = random_params(cell), random_xs()
    serve, state, at, pieces = jax.jit(jaxrnn.step, static_argnums=0), None, 0, []
    for size in chunks:
        piece = xs[:, at : at + size]
        if size == 1:
            state = jaxrnn.initial_state(cell, params, (6,)) if state is None else state
            state, h = serve(cell, params, state, piece[:, 0])
            pieces.append(h[:, None])
        else:
            state, hs = jaxrnn.unroll(cell, params, piece, state, engine=engine)
            pieces.append(hs)
        at += size
    assert_close(
        (state, jnp.concatenate(pieces, 1)), jaxrnn.unroll(cell, params, xs, engine=engine)
    )


@pytest.mark.pairs
@every_row
@pytest.mark.parametrize("resets", [None, RESETS], ids=["", "resets"])
@pytest.mark.parametrize("reverse", [False, True])
def test_padding(cell, engine, reverse, resets):
    """A padded batch is each sequence alone, in values and gradients, whatever the padding is."""
    params, xs, start = random_params(cell), random_xs(), random_state(cell)
    junk = np.array([np.nan, np.nan, np.inf, -np.inf, 1e30, np.nan], "float32")[:, None, None]
    # Each length that is run alone compiles: the longest, none, and one between.
    ends = np.array([7, 0, 3, 7, 3, 0])
    padded = jnp.where(np.arange(7)[None, :, None] < ends[:, None, None], xs, junk)

    def loss(params, xs, start, lengths, resets):
        state, hs = jaxrnn.unroll(
            cell, params, xs, start, lengths=lengths, resets=resets, reverse=reverse, engine=engine
        )
        return sum(jnp.sum(jnp.sin(a)) for a in (*state, hs))

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    by_params, by_xs, by_start = gradient(params, padded, start, jnp.asarray(ends), resets)
    alone = []
    for b, n in enumerate(ends):
        row = slice(b, b + 1)
        cut = None if resets is None else resets[row, :n]
        first = jax.tree.map(lambda a, row=row: a[row], start)
        alone.append(gradient(params, xs[row, :n], first, None, cut))
    # Sums over six sequences, so a few times the rounding of one.
    assert_close(by_params, jax.tree.map(lambda *g: sum(g), *[a[0] for a in alone]), 1e-5)
    assert_close(
        by_start, jax.tree.map(lambda *g: jnp.concatenate(g), *[a[2] for a in alone]), 1e-5
    )
    for b, n in enumerate(ends):
        assert_close(by_xs[b, :n], alone[b][1][0], 1e-5)
        np.testing.assert_array_equal(by_xs[b, n:], 0)
    state, hs = jaxrnn.unroll(
        cell, params, padded, start, lengths=ends, resets=resets, reverse=reverse, engine=engine
    )
    for field, field_before in zip(state, start, strict=True):
        np.testing.assert_array_equal(
            field[1], field_before[1]
        )  # length 0: the state it began with
    for b, n in enumerate(ends):
        np.testing.assert_array_equal(hs[b, n:], 0)


@pytest.mark.pairs
@every_row
@pytest.mark.parametrize("resets", [None, RESETS], ids=["", "resets"])
def test_mirror(cell, engine, resets):
    """`reverse` is flip, unroll, flip; of a ragged batch only the valid part is flipped."""
    params, xs = random_params(cell), random_xs()
    run = functools.partial(jaxrnn.unroll, cell, params, engine=engine)
    flipped = None if resets is None else resets[:, ::-1]
    state, hs = run(xs[:, ::-1], resets=flipped)
    assert_close(run(xs, resets=resets, reverse=True), (state, hs[:, ::-1]))
    state, hs = run(xs, lengths=LENGTHS, resets=resets, reverse=True)
    for b, n in enumerate(LENGTHS):
        one, h = run(xs[b, :n][::-1], resets=None if resets is None else resets[b, :n][::-1])
        assert_close(jax.tree.map(lambda a, b=b: a[b], state), one)
        assert_close(hs[b, :n], h[::-1])


@pytest.mark.pairs
@every_row
@options
def test_gradient(cell, engine, lengths, resets, reverse):
    """Equals finite differences in float64: by weights, inputs and first state."""
    with jax.enable_x64(True):
        params, xs = random_params(cell, dtype="float64"), random_xs(dtype="float64")
        start = random_state(cell, dtype="float64")

        @jax.jit
        def run(params, xs, start):
            return jaxrnn.unroll(
                cell,
                params,
                xs,
                start,
                lengths=lengths,
                resets=resets,
                reverse=reverse,
                engine=engine,
            )

        # Central differences of step 1e-5 in float64 are right to 1e-10, for sums of size 10.
        check_grads(
            run, (params, xs, start), order=1, modes=["rev"], eps=1e-5, atol=1e-7, rtol=1e-7
        )


@every_row
def test_batch(cell, engine):
    """Rows are independent: changing one changes no other, bit for bit."""
    params, xs = random_params(cell), random_xs()
    before = jaxrnn.unroll(cell, params, xs, lengths=LENGTHS, engine=engine)
    after = jaxrnn.unroll(cell, params, xs.at[3].set(9.0), lengths=LENGTHS, engine=engine)
    others = np.array([0, 1, 2, 4, 5])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[others], b[others]), before, after)
    assert not np.array_equal(before[1][3], after[1][3])


@every_row_once
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("time_major", [False, True])
def test_any_number_of_batch_axes(cell, engine, batch, time_major):
    params, xs = random_params(cell), random_xs(batch=batch)
    size = int(np.prod(batch))
    lengths, resets = LENGTHS[:size], RESETS[:size]
    expected_state, expected = run_batch(
        cell.name, in_float64(params), np.float64(xs).reshape(size, 7, 5), None, lengths, resets
    )
    resets = resets.reshape(*batch, 7)
    if time_major:
        xs, resets = jnp.moveaxis(xs, -2, 0), np.moveaxis(resets, -1, 0)
    state, hs = jaxrnn.unroll(
        cell, params, xs, lengths=lengths.reshape(batch), resets=resets, time_major=time_major,
        engine=engine,
    )  # fmt: skip
    if time_major:
        hs = jnp.moveaxis(hs, 0, -2)
    assert_close(hs, expected.reshape(*batch, 7, 4))
    assert_close(state, [field.reshape(*batch, 4) for field in expected_state])


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32", "bfloat16"])
def test_resets_are_true_where_they_are_not_zero(dtype):
    """As the `dones` of reinforcement learning, which are often floats; -0.0 is zero."""
    params, xs = random_params(jaxrnn.GRU), random_xs()
    numbers = jnp.where(RESETS, 3, 0).astype(dtype)
    if jnp.issubdtype(dtype, jnp.floating):
        numbers = jnp.where(RESETS, -numbers / 8, -numbers)
    expected = jaxrnn.unroll(jaxrnn.GRU, params, xs, resets=RESETS)
    actual = jaxrnn.unroll(jaxrnn.GRU, params, xs, resets=numbers)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    stack = ((params, random_params(jaxrnn.GRU, seed=3)),)
    lengths = jnp.asarray(LENGTHS)
    both = [
        jaxrnn.unroll_stack(jaxrnn.GRU, stack, xs, resets=given, lengths=lengths)
        for given in (RESETS, numbers)
    ]
    jax.tree.map(np.testing.assert_array_equal, *both)


@every_row
def test_no_steps_at_all(cell, engine):
    params, start = random_params(cell), random_state(cell)
    state, hs = jaxrnn.unroll(cell, params, jnp.zeros((6, 0, 5)), start, engine=engine)
    jax.tree.map(np.testing.assert_array_equal, state, start)
    assert hs.shape == (6, 0, 4)


@every_row
def test_a_second_call_compiles_nothing(cell, engine):
    params, xs = random_params(cell), random_xs()

    def run(scale):
        return jaxrnn.unroll(cell, params, xs * scale, lengths=LENGTHS, engine=engine)

    jax.block_until_ready(run(1.0))
    with jax_test_util.count_jit_compilation_cache_miss() as misses:
        jax.block_until_ready(run(2.0))
    assert misses() == 0


# --- what is refused -------------------------------------------------------------------------


@every_row_once
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"xs": np.zeros((6, 7, 9))}, ValueError, "xs has 9 features; wx expects 5"),
        ({"xs": np.zeros(7)}, ValueError, "needs a time and a feature axis"),
        ({"lengths": LENGTHS + 1}, ValueError, "lengths holds 8; xs has 7 steps"),
        ({"lengths": LENGTHS - 1}, ValueError, "lengths holds -1; xs has 7 steps"),
        ({"lengths": LENGTHS.astype("float32")}, TypeError, "lengths has dtype float32"),
        (
            {"lengths": LENGTHS[:5]},
            ValueError,
            r"lengths has shape \(5,\); the batch of xs is \(6,\)",
        ),
        ({"resets": RESETS.astype("complex64")}, TypeError, "resets has dtype complex64; it must"),
        ({"xs": np.zeros((6, 7, 5), "complex64")}, TypeError, "xs has dtype complex64; it must"),
        ({"resets": RESETS[:, :6]}, ValueError, r"resets has shape \(6, 6\); xs asks for \(6, 7\)"),
    ],
)
def test_bad_input_is_named(cell, engine, change, error, message):
    args = {"xs": random_xs(), **change}
    with pytest.raises(error, match=message):
        jaxrnn.unroll(cell, random_params(cell), **args, engine=engine)


@every_row
def test_weights_and_states_of_another_cell_are_refused(cell, engine):
    other = jaxrnn.LSTM if cell is not jaxrnn.LSTM else jaxrnn.GRU
    with pytest.raises(ValueError, match="expects"):
        jaxrnn.unroll(cell, random_params(other), random_xs(), engine=engine)
    params = random_params(cell)
    if not cell.recurrent_bias:
        biased = params._replace(bh=jnp.ones_like(params.bx))
        with pytest.raises(ValueError, match=f"bh has shape .*; {cell.name} has no recurrent bias"):
            jaxrnn.unroll(cell, biased, random_xs(), engine=engine)
    with pytest.raises((TypeError, ValueError), match="state"):
        jaxrnn.unroll(cell, params, random_xs(), random_state(cell, units=3), engine=engine)
    if cell is jaxrnn.LSTM:
        with pytest.raises(TypeError, match="State; lstm needs a LSTMState"):
            jaxrnn.unroll(cell, params, random_xs(), random_state(other), engine=engine)
