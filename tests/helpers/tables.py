"""Makes the table that the laws run over, cells x engines, and what its rows are fed with."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

# Those that can run here; test_native.py fails where `native` should have been compiled.
ENGINES = {
    name: getattr(jaxrnn.engines, name)
    for name, why_not in jaxrnn.engines.available().items()
    if not why_not
}

# Those that have modules of `jaxrnn.flax` and a counterpart in every peer.
COMMON = ("rnn", "lstm", "gru")
every_cell = pytest.mark.parametrize("cell", [jaxrnn.CELLS[name] for name in COMMON], ids=COMMON)
# All, for what asks the library alone.
all_cells = pytest.mark.parametrize("cell", jaxrnn.CELLS.values(), ids=jaxrnn.CELLS.keys())
ROWS = list(itertools.product(jaxrnn.CELLS, ENGINES))


def _table(rows):
    return pytest.mark.parametrize(
        ("cell", "engine"),
        [(jaxrnn.CELLS[cell], ENGINES[engine]) for cell, engine in rows],
        ids=[f"{cell}-{engine}" for cell, engine in rows],
    )


every_row = _table(ROWS)
# For what is built upon `unroll`: `fused` is one program for all cells, and compiles for seconds;
# GRU goes through all of it.
every_row_once = _table([row for row in ROWS if row[1] != "fused" or row[0] == "gru"])

# Sums of some 10 terms of size 1, over 7 steps: rounding of 1e-7 (float32) or 1e-16 (float64) a
# step grows to a few of it. These bounds leave a factor of about 20.
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def random_params(cell, seed=0, inputs=5, units=4, dtype="float32"):
    """Weights with every bias away from zero, so that a swapped or forgotten one shows."""
    rng = np.random.default_rng(seed)
    params = jaxrnn.init(jax.random.key(seed), cell, inputs, units, dtype=dtype)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.5, a.shape), dtype), params)


def random_xs(seed=1, batch=(6,), steps=7, inputs=5, dtype="float32"):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*batch, steps, inputs)), dtype)


def random_state(cell, seed=2, batch=(6,), units=4, dtype="float32"):
    rng = np.random.default_rng(seed)
    return cell.state(
        *[jnp.asarray(rng.normal(size=(*batch, units)), dtype) for _ in cell.state._fields]
    )


def in_float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


def assert_close(actual, expected, tolerance=TOLERANCE["float32"]):
    """Trees of arrays, equal within an absolute and relative tolerance; NaN equals nothing."""
    flat_actual, tree_actual = jax.tree.flatten(actual)
    flat_expected, tree_expected = jax.tree.flatten(expected)
    assert len(flat_actual) == len(flat_expected), f"{tree_actual} against {tree_expected}"
    for a, e in zip(flat_actual, flat_expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance, equal_nan=False)
