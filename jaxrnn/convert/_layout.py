"""Reorders gates, for all conversions: each library has an order of its own."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn._cells import Cell

Order = tuple[int, ...]


def row(table: Mapping[str, Any], cell: Cell, library: str) -> Any:
    """Look up the table's row for this cell; `ValueError` where the library has no such cell."""
    if cell.name not in table:
        raise ValueError(f"{library} has no {cell.name}; it has {', '.join(table)}")
    return table[cell.name]


def array(value: Any) -> jax.Array:
    """Make a JAX array of any: NumPy's, PyTorch's on the CPU, or a tracer as it is."""
    return value if isinstance(value, jax.Array) else jnp.asarray(np.asarray(value))


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
