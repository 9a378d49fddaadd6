"""Gives a primitive `vmap`: the axes that it maps over stay in front of the operands.

Such a primitive has a parameter `levels`, the outermost first. Each tells which operands have its
axis; all results do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching
from jax.sharding import PartitionSpec

Level = tuple[bool, ...]


def mapped(function: Callable[..., Any], levels: Sequence[Level]) -> Callable[..., Any]:
    """Map a function over the axes in front of its operands."""
    for level in reversed(levels):
        function = jax.vmap(function, in_axes=tuple(0 if there else None for there in level))
    return function


def sizes(levels: Sequence[Level], operands: Sequence[Any]) -> list[Any]:
    """Give the size of each axis that is mapped over."""
    found = []
    for depth, level in enumerate(levels):
        one = level.index(True)
        found.append(operands[one].shape[sum(outer[one] for outer in levels[:depth])])
    return found


def own_shape(levels: Sequence[Level], operands: Sequence[Any], n: int) -> tuple[Any, ...]:
    """Give the shape of operand `n` without the axes that are mapped over."""
    shape: tuple[Any, ...] = operands[n].shape[sum(level[n] for level in levels) :]
    return shape


def result(like: Any, shape: tuple[Any, ...], dtype: Any) -> Any:
    """Describe a result that varies over the mesh as `like` does."""
    sharding = like.sharding.update(spec=PartitionSpec(*[None] * len(shape)))
    return like.update(shape=shape, dtype=dtype, sharding=sharding, weak_type=False)


def register(primitive: Primitive) -> None:
    """Give the primitive its batching rule."""

    def batched(operands: Any, dims: Any, *, levels: Any, **params: Any) -> Any:
        level = tuple(dim is not None for dim in dims)
        moved = [
            jnp.moveaxis(operand, dim, 0) if there else operand
            for operand, dim, there in zip(operands, dims, level, strict=True)
        ]
        results = primitive.bind(*moved, levels=(level, *levels), **params)
        return results, [0] * len(results)

    batching.primitive_batchers[primitive] = batched
