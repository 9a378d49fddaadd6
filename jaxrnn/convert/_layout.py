"""Reads other libraries' arrays and reorders gates, for all conversions."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._types import Cell

Order = tuple[int, ...]


def row(table: Mapping[str, Any], cell: Cell, library: str) -> Any:
    """Look up the table's row for this cell; `ValueError` where the library has no such cell."""
    if cell.name not in table:
        raise ValueError(f"{library} has no {cell.name}; it has {', '.join(table)}")
    return table[cell.name]


def array(value: Any) -> jax.Array:
    """Copy any array into one of JAX's that shares no memory with it: others may train theirs on.

    NumPy's, `h5py`'s, or PyTorch's on any device, in bfloat16 or with a gradient. Tracers stay.
    """
    if isinstance(value, jax.core.Tracer):
        return value
    if isinstance(value, jax.Array):
        return jnp.array(value)
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy cannot hold PyTorch's bfloat16; every one of them is a float32.
        is_brain_float = str(value.dtype) == "torch.bfloat16"
        values = np.asarray(value.float() if is_brain_float else value)
        return jnp.array(values, jnp.bfloat16 if is_brain_float else None)
    if getattr(value, "attrs", {}).get("dtype") == "bfloat16":  # so Keras marks it in a file
        return jnp.array(np.asarray(value).view(jnp.bfloat16))
    return jnp.array(np.asarray(value))


def reordered(weights: jax.Array, order: Order) -> jax.Array:
    """Put the blocks of the last axis in another order: block k of the result is block order[k]."""
    columns = weights.shape[-1]
    if columns % len(order):
        raise ValueError(f"{columns} columns cannot be divided among {len(order)} gates")
    blocks = jnp.split(weights, len(order), axis=-1)
    return jnp.concatenate([blocks[k] for k in order], axis=-1)


def inverse(order: Order) -> Order:
    """Give the order that undoes this one."""
    return tuple(order.index(k) for k in range(len(order)))
