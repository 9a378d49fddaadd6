"""Asks what only the native engine has: vectors, threads, blocks of weights, a library to load."""

import functools
import importlib
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import all_cells, assert_close, every_cell, random_params, random_state, random_xs

import jaxrnn
from jaxrnn.engines import native, scan

library = importlib.import_module("jaxrnn.engines._native.library")
operation = importlib.import_module("jaxrnn.engines._native.operation")
compiled = pytest.mark.skipif(
    bool(library.why_not()) and shutil.which(os.environ.get("CXX", "c++")) is None,
    reason="no C++ compiler, so no kernels",
)

# (T, B, D, H) around the widths of vectors (4, 8, 16 numbers) and panels (8, 16, 64), blocks of 6
# and 24 rows, chunks of 16 steps; "far" have weights that do not fit a core's cache. Those from
# "few" on are divided by units: few rows, or few samples, whose weights are not packed.
SIZES = {
    "below": (11, 7, 5, 15),
    "exact": (3, 24, 16, 16),
    "above": (6, 13, 17, 33),
    "far": (18, 9, 150, 193),
    "far, many rows": (3, 31, 300, 260),
    "one step, far": (1, 70, 200, 260),
    "few": (35, 2, 3, 31),
    "few, chunks": (131, 3, 1, 5),
    "few, far": (18, 5, 150, 193),
    "one": (1, 1, 1, 1),
    "short": (3, 7, 5, 15),
    "short, whole vectors": (2, 6, 64, 64),
    "short, far": (2, 9, 300, 290),
}


def weighted(cell, engine, sizes, dtype, ragged, reverse):
    """Value and gradient of a loss in which every output has a weight of its own."""
    T, B, D, H = sizes
    rng = np.random.default_rng(T + 7 * B + D + H)
    lengths = jnp.asarray(rng.integers(0, T + 1, B), jnp.int32) if ragged else None
    resets = jnp.asarray(rng.random((T, B)) < 0.2) if ragged else None
    params = random_params(cell, inputs=D, units=H, dtype=dtype)
    # Weights of size 1 / sqrt(n) keep the gates away from saturation at any size.
    params = jax.tree.map(lambda a: a * (2 / (D + H) ** 0.5 if a.ndim > 1 else 1), params)
    xs = random_xs(batch=(T,), steps=B, inputs=D, dtype=dtype)
    start = random_state(cell, batch=(B,), units=H, dtype=dtype)
    weights = [jnp.asarray(rng.normal(size=s), dtype) for s in [(T, B, H), (B, H), (B, H)]]

    def loss(params, xs, start):
        state, hs = engine(cell, params, xs, start, lengths=lengths, resets=resets, reverse=reverse)
        outputs = (hs, *state)
        total = sum(jnp.sum(w * a) for w, a in zip(weights, outputs, strict=False))
        return total, outputs

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(params, xs, start)


def test_the_kernels_are_there_where_a_compiler_is():
    if shutil.which(os.environ.get("CXX", "c++")) is not None:
        assert jaxrnn.engines.available()["native"] == ""


@pytest.mark.pairs
@compiled
@all_cells
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("keep_gates", [True, False])
@pytest.mark.parametrize("vectors", ["portable", "avx2", "widest"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sizes(cell, sizes, keep_gates, vectors, dtype):
    """Equals the scan at sizes around every boundary of the kernels, with vectors of any width."""
    T, B, *_ = sizes
    ragged, reverse = T * B > 1, B % 2 == 1
    if operation.VECTORS.index(vectors) > library.widest():
        vectors = "widest"  # of this processor
    engine = functools.partial(native, keep_gates=keep_gates, vectors=vectors)
    with jax.enable_x64(dtype == "float64"):
        actual = weighted(cell, engine, sizes, dtype, ragged, reverse)
        expected = weighted(cell, scan, sizes, dtype, ragged, reverse)
        assert {str(leaf.dtype) for leaf in jax.tree.leaves(actual)} == {dtype}
        # Sums of up to 500 terms of size 1 in another order; gradients sum over steps too.
        assert_close(actual, expected, {"float32": 5e-5, "float64": 1e-12}[dtype])


@compiled
@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
def test_vectors_that_this_processor_lacks_are_refused(vectors):
    engine = functools.partial(native, vectors=vectors)
    if operation.VECTORS.index(vectors) <= library.widest():
        pytest.skip("this processor has them")
    with pytest.raises(Exception, match="no such vectors"):
        weighted(jaxrnn.GRU, engine, SIZES["one"], "float32", True, True)


@compiled
@every_cell
@pytest.mark.parametrize(
    ("sizes", "keep_gates"),
    [
        ((40, 70, 20, 40), True),
        ((40, 70, 20, 40), False),
        ((20, 3, 150, 160), None),
        ((3, 9, 150, 160), None),
    ],
)
def test_the_number_of_threads_changes_no_bit(cell, sizes, keep_gates):
    run = functools.partial(
        weighted, cell, sizes=sizes, dtype="float32", ragged=True, reverse=False
    )
    one, two, all_ = (
        run(engine=functools.partial(native, threads=n, keep_gates=keep_gates)) for n in (1, 2, 0)
    )
    jax.tree.map(np.testing.assert_array_equal, one, two)
    jax.tree.map(np.testing.assert_array_equal, one, all_)


@compiled
def test_no_thread_is_left_behind():
    run = functools.partial(weighted, jaxrnn.GRU, native, (40, 70, 20, 40), "float32", False, False)
    run()
    before = set(os.listdir("/proc/self/task"))
    for _ in range(5):
        run()
    assert len(set(os.listdir("/proc/self/task")) - before) == 0


@compiled
@pytest.mark.parametrize("vectors", ["portable", "widest"])
@pytest.mark.parametrize(("dtype", "ulps"), [("float32", 4), ("float64", 4)])
def test_gate_functions(vectors, dtype, ulps):
    """tanh and sigmoid, read off an RNN and a GRU with one unit, to a few units in the last place.

    Where the exact sigmoid is subnormal or nearly so, anything as small will do.
    """
    with jax.enable_x64(dtype == "float64"):
        x = np.concatenate([np.linspace(-30, 30, 4001), np.logspace(-30, 2, 500), [0.0]])
        x = np.concatenate([x, -x]).astype(dtype)
        engine = functools.partial(native, vectors=vectors)
        one, zero = jnp.ones((1, 1), dtype), jnp.zeros((1, 1), dtype)
        xs, options = x[None, :, None], {"time_major": True, "engine": engine}
        rnn = jaxrnn.Params(one, zero, zero[0])
        _, tanh = jaxrnn.unroll(jaxrnn.SimpleRNN, rnn, xs, **options)
        # n = 0 and h = 1 before, so that h = z.
        columns = jnp.asarray([[0, 1, 0]], dtype)
        gru = jaxrnn.Params(columns, 0 * columns, 0 * columns[0], 0 * columns[0])
        start = jaxrnn.State(jnp.ones((len(x), 1), dtype))
        _, sigmoid = jaxrnn.unroll(jaxrnn.GRU, gru, xs, start, **options)
        wide = x.astype(np.longdouble)
        unit, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
        for actual, exact in ((tanh, np.tanh(wide)), (sigmoid, 1 / (1 + np.exp(-wide)))):
            error = np.abs(np.asarray(actual)[0, :, 0] - exact)
            np.testing.assert_array_less(error, ulps * unit * np.abs(exact) + 4 * tiny)


@compiled
@every_cell
def test_what_is_not_a_number_stays_so(cell):
    params, xs = random_params(cell), random_xs().at[2, 3].set(np.nan)
    _, hs = jaxrnn.unroll(cell, params, xs, engine=native)
    assert np.isnan(hs[2, 3:]).all()
    assert np.isfinite(np.delete(hs, 2, 0)).all()


@compiled
@every_cell
@pytest.mark.parametrize("axes", [(None, 0), (0, None), (0, 0)])
@pytest.mark.parametrize("time_major", [False, True])
def test_vmap_over_weights_and_data(cell, axes, time_major):
    """Batched weights, batched data, both, and once more: as a loop."""
    several = [random_params(cell, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *several)
    data = random_xs(batch=(3, 6))
    params = stacked if axes[0] == 0 else several[0]
    xs = data if axes[1] == 0 else data[0]

    def run(params, xs):
        def loss(params, xs):
            state, hs = jaxrnn.unroll(
                cell, params, xs, lengths=np.array([7, 0, 1, 6, 3, 7]), engine=native,
                time_major=time_major,
            )  # fmt: skip
            return jnp.sum(jnp.sin(hs)) + jnp.sum(state.h)

        xs = jnp.moveaxis(xs, 1, 0) if time_major else xs
        return jax.value_and_grad(loss, argnums=(0, 1))(params, xs)

    at = lambda tree, axis, i: jax.tree.map(lambda a: a[i], tree) if axis == 0 else tree  # noqa: E731
    expected = [run(at(params, axes[0], i), at(xs, axes[1], i)) for i in range(3)]
    expected = jax.tree.map(lambda *a: jnp.stack(a), *expected)
    assert_close(jax.vmap(run, axes)(params, xs), expected, 1e-5)
    twice = jax.vmap(lambda p: jax.vmap(lambda x: run(p, x))(data))(stacked)
    again = [run(p, x) for p in several for x in data]
    again = jax.tree.map(lambda *a: jnp.stack(a).reshape(3, 3, *a[0].shape), *again)
    assert_close(twice, again, 1e-5)


@compiled
def test_jacobian():
    """Here `vmap` goes over the backward pass alone."""
    params, xs = random_params(jaxrnn.LSTM), random_xs()

    def run(engine):
        def end(xs):
            return jaxrnn.unroll(jaxrnn.LSTM, params, xs, engine=engine)[0].h[0]

        return jax.jacrev(end)(xs)

    assert_close(run(native), run(scan), 1e-5)


# --- what is refused -------------------------------------------------------------------------


def leaky(gx, gh, state):
    return jaxrnn.State(0.9 * state.h + 0.1 * jnp.tanh(gx + gh))


LEAKY = jaxrnn.Cell("leaky", gates=1, state=jaxrnn.State, update=leaky)


@compiled
@pytest.mark.parametrize(
    ("cell", "dtype", "error", "message"),
    [
        (LEAKY, "float32", ValueError, "no kernel for the cell 'leaky'"),
        (jaxrnn.LSTM, "float8_e4m3fn", TypeError, "bfloat16, float16, not float8_e4m3fn"),
    ],
)
def test_what_it_cannot_run_goes_to_the_scan(cell, dtype, error, message):
    params = jaxrnn.init(jax.random.key(0), cell, 5, 4, dtype=dtype)
    with pytest.raises(error, match=message):
        jaxrnn.unroll(cell, params, random_xs(), engine=native)
    assert jaxrnn.engines.choose(cell, params.wx.dtype) is scan
    jaxrnn.unroll(cell, params, random_xs())


@compiled
def test_it_is_chosen_on_a_cpu():
    assert jaxrnn.engines.choose(jaxrnn.LSTM, jnp.dtype("float32")) is native


@pytest.fixture
def reload(monkeypatch):
    """Loads the library anew in here, and once more after it."""
    library.load.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    library.load.cache_clear()


@pytest.mark.parametrize("broken", ["missing", "unreadable"])
def test_without_the_kernels_the_scan_runs_and_says_why(reload, tmp_path, broken):
    path = tmp_path / "_kernels.so"
    path.write_text("no library")
    spec = importlib.machinery.ModuleSpec("_kernels", None, origin=str(path))
    reload.setattr(importlib.util, "find_spec", lambda _: None if broken == "missing" else spec)
    reason = "were not compiled" if broken == "missing" else "cannot be loaded"
    assert reason in library.why_not()
    assert jaxrnn.engines.available()["native"] == library.why_not()
    assert jaxrnn.engines.choose(jaxrnn.LSTM, jnp.dtype("float32")) is scan
    with pytest.raises(RuntimeError, match=r"engine=jaxrnn\.engines\.scan"):
        jaxrnn.unroll(jaxrnn.LSTM, random_params(jaxrnn.LSTM), random_xs(), engine=native)


@compiled
def test_kernels_of_a_newer_jax_are_refused(reload):
    """XLA's own refusal would come when its backend starts, and stop that."""
    assert library.interface() > 0
    reload.setattr(library, "interface", lambda: 0)
    assert "upgrade jax" in library.why_not()
