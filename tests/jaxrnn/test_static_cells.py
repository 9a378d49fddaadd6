"""A cell as a field of a model is static: in an NNX module, a dataclass that is a tree, a dict."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from tables import assert_close, random_params, random_xs

import jaxrnn

CELLS = [*jaxrnn.CELLS.values(), jaxrnn.ResetBeforeGRU]


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class PytreeLayer:
    """As `equinox.Module` has it: every field is a child."""

    cell: jaxrnn.Cell
    params: jaxrnn.Params


class NnxLayer(nnx.Module):
    def __init__(self, cell, params):
        self.cell = cell
        self.params = nnx.data(jax.tree.map(nnx.Param, params))


MODELS = {
    "dataclass": PytreeLayer,
    "nnx": NnxLayer,
    "dict": lambda cell, params: {"cell": cell, "params": params},
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_in_a_model_a_cell_is_static(make, cell):
    """The model goes through jit, grad and optax as it is; the cell comes out as it went in."""
    params, xs = random_params(cell), random_xs()
    model = make(cell, params)

    def loss(model):
        here = model if isinstance(model, dict) else vars(model)
        weights = jaxrnn.Params(*[None if a is None else a[...] for a in here["params"]])
        return jnp.sum(jaxrnn.unroll(here["cell"], weights, xs)[1] ** 2)

    expected = jax.grad(lambda params: loss({"cell": cell, "params": params}))(params)
    gradient = jax.jit(jax.grad(loss))(model)
    assert_close(jax.tree.leaves(gradient), jax.tree.leaves(expected), 1e-5)
    optimizer = optax.adam(1e-2)
    updates, _ = optimizer.update(gradient, optimizer.init(model))
    better = optax.apply_updates(model, updates)
    assert loss(better) < loss(model)
    assert (better if isinstance(better, dict) else vars(better))["cell"] is cell


def test_cells_are_equal_by_value():
    again = dataclasses.replace(jaxrnn.LSTM)
    assert again == jaxrnn.LSTM != dataclasses.replace(jaxrnn.LSTM, name="mine")
    assert hash(again) == hash(jaxrnn.LSTM)
