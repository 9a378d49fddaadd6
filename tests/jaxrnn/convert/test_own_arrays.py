"""Every array that a conversion returns is its own: donated, or trained on by others, alone."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import random_params

from jaxrnn import CELLS, GRU, ResetBeforeGRU, convert

CELLS = [*CELLS.values(), ResetBeforeGRU]


def theirs(cell, converted):
    """Arrays of ours by name, each aligned as JAX likes to take memory over without copying it."""
    return jax.tree.map(jnp.asarray, converted)


def without_bias(tree):
    """The same without the arrays whose names say that they are biases."""
    return {name: a for name, a in tree.items() if not name.startswith("b")}


# Of each conversion: `(cell, weights of ours) -> (what it was given, what it returns)`, as a list
# of both with biases and without, where the library can leave them out.
def from_keras(cell, params):
    layers = theirs(cell, convert.to_keras(cell, ((params,),)))
    return [(given, convert.from_keras(cell, given)) for given in (layers, [layers[0][:2]])]


def from_torch(cell, params):
    arrays = theirs(cell, convert.to_torch(cell, ((params,),)))
    return [(given, convert.from_torch(cell, given)) for given in (arrays, without_bias(arrays))]


def from_linen(cell, params):
    tree = theirs(cell, convert.to_linen(cell, params)["params"])
    bare = {name: {"kernel": layer["kernel"]} for name, layer in tree.items()}
    return [(given, convert.from_linen(cell, given)) for given in (tree, bare)]


def from_nnx(cell, params):
    if params.bh is not None:
        params = params._replace(bh=params.bh * 0)
    tree = theirs(cell, convert.to_nnx(cell, params))
    bare = {name: {"kernel": layer["kernel"]} for name, layer in tree.items()}
    return [(given, convert.from_nnx(cell, given)) for given in (tree, bare)]


def from_haiku(cell, params):
    given = theirs(cell, convert.to_haiku(cell, params))
    return [(given, convert.from_haiku(cell, given))]


def from_equinox(cell, params):
    arrays = theirs(cell, convert.to_equinox(cell, params))
    return [(given, convert.from_equinox(cell, given)) for given in (arrays, without_bias(arrays))]


def to_nnx(cell, params):
    if params.bh is not None:
        params = params._replace(bh=params.bh * 0)
    return [(params, convert.to_nnx(cell, params))]


CALLS = {
    "from_equinox": from_equinox,
    "from_haiku": from_haiku,
    "from_keras": from_keras,
    "from_linen": from_linen,
    "from_nnx": from_nnx,
    "from_torch": from_torch,
    "to_equinox": lambda cell, params: [(params, convert.to_equinox(cell, params))],
    "to_haiku": lambda cell, params: [(params, convert.to_haiku(cell, params))],
    "to_keras": lambda cell, params: [(params, convert.to_keras(cell, ((params,),)))],
    "to_linen": lambda cell, params: [(params, convert.to_linen(cell, params))],
    "to_nnx": to_nnx,
    "to_torch": lambda cell, params: [(params, convert.to_torch(cell, ((params,),)))],
}
LACKING = {"haiku": {"rnn", "relu_rnn", "gru"}, "equinox": {"rnn", "relu_rnn", "gru_reset_before"}}
LACKING |= {name: {"gru_reset_before"} for name in ("torch", "linen", "nnx")}


def memory(tree):
    """The first and the last byte of each array's."""
    found = []
    for leaf in jax.tree.leaves(tree):
        start = leaf.ctypes.data if isinstance(leaf, np.ndarray) else leaf.unsafe_buffer_pointer()
        found.append((start, start + leaf.nbytes))
    return found


def test_no_conversion_is_left_out():
    assert set(CALLS) == {name for name in convert.__all__ if name != "to_onnx"}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
@pytest.mark.parametrize("name", CALLS)
def test_no_two_arrays_share_memory(name, cell):
    if cell.name in LACKING.get(name.partition("_")[2], ()):
        with pytest.raises(ValueError, match=f"has no {cell.name}"):
            CALLS[name](cell, random_params(cell))
        return
    for given, returned in CALLS[name](cell, random_params(cell)):
        places = [(p, "returned") for p in memory(returned)]
        assert places
        places = sorted(places + [(p, "given") for p in memory(given)])
        for (before, one), (after, other) in itertools.pairwise(places):
            shared = before[1] > after[0] and "returned" in (one, other)
            assert not shared, f"{one} and {other} share memory"


def test_weights_loaded_without_biases_can_be_donated():
    """JAX refused with "Attempt to donate the same buffer twice"."""
    double = jax.jit(lambda tree: jax.tree.map(lambda a: 2 * a, tree), donate_argnums=0)
    weights = {"weight_ih_l0": np.ones((12, 3)), "weight_hh_l0": np.ones((12, 4))}
    for stack in (
        convert.from_torch(GRU, weights),
        convert.from_keras(GRU, [[np.ones((3, 12)), np.ones((4, 12))]]),
    ):
        doubled = double(stack)[0][0]
        np.testing.assert_array_equal(doubled.wx, 2 * np.ones((3, 12)))
        np.testing.assert_array_equal(doubled.bh, np.zeros(12))


def test_a_module_that_is_trained_on_leaves_loaded_weights_alone():
    """A GRU's biases go in as they are, and `device_put` would take their memory over."""
    memory = np.zeros(64, np.float32)
    bias = memory[(-memory.ctypes.data % 64) // 4 :][:12]  # aligned as it wants it for that
    arrays = {"weight_ih_l0": np.zeros((12, 2), np.float32), "bias_ih_l0": bias}
    arrays |= {"weight_hh_l0": np.zeros((12, 4), np.float32), "bias_hh_l0": bias}
    loaded = jax.block_until_ready(convert.from_torch(GRU, arrays))
    memory[:] = 1
    for leaf in jax.tree.leaves(loaded):
        np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))
