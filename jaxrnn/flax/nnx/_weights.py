"""Reads and writes the parameters of Flax's NNX cells, which lie gate by gate or side by side."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxrnn._cells import Cell, Params, check_params
from jaxrnn.convert.flax import FUSED, NNX, Names, nnx_params


def layer_names(kind: Cell, cell: nnx.Module) -> Names:
    """For each block of gates the attributes of its input and its recurrent layer."""
    return FUSED if isinstance(cell, nnx.OptimizedLSTMCell) else NNX[kind.name]


def fused(kind: Cell, cell: Any) -> Params:
    """The weights of a cell of Flax's or of ours, as the engines want them."""
    names = [name for pair in layer_names(kind, cell) for name in pair]
    tree: dict[str, Any] = {name: _arrays(getattr(cell, name)) for name in names}
    return nnx_params(kind, tree | {"candidate_bias": getattr(cell, "candidate_bias", None)})


def _arrays(layer: nnx.Linear) -> dict[str, Array]:
    kernel = {"kernel": layer.kernel[...]}
    return kernel if layer.bias is None else {**kernel, "bias": layer.bias[...]}


def check_alike(kind: Cell, new: Params, old: Params) -> None:
    """Raise `ValueError` unless weights are this cell's, and of the shapes of those it has."""
    check_params(kind, new)
    for name in new._fields:
        given, own = getattr(new, name), getattr(old, name)
        if given is not None and given.shape != own.shape:
            raise ValueError(f"{name} has shape {given.shape}; this cell's {own.shape}")


def assign(variable: Any, new: Any) -> None:
    """Give a variable new values, in the dtype that it has."""
    variable[...] = jnp.asarray(new, variable.dtype)


def is_plain(layer: Any, cell: Any) -> bool:
    """Whether a layer computes `x @ kernel (+ bias)` and nothing else, in the cell's dtype."""
    return (
        type(layer) is nnx.Linear
        and layer.dot_general is jax.lax.dot_general
        and layer.promote_dtype is nnx.nn.dtypes.promote_dtype
        and layer.precision is None
        and layer.preferred_element_type is None
        and layer.dtype == cell.dtype
    )
