"""Moves the steps that a mask leaves to the front of each sequence, and the outputs back.

What is left is then a sequence with a length, which every engine runs exactly; holes and padding on
the left are padding on the right.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from jaxrnn._checks import is_debugged


class Order(NamedTuple):
    """A mask, the steps in their new order, and how many of them are left."""

    mask: Bool[Array, "..."]
    places: Int[Array, "..."]
    lengths: Int[Array, "..."]


def order(mask: Bool[Array, "..."], time_axis: int) -> Order:
    """Give the order in which the steps that are left come first, the others after them."""
    places = jnp.argsort(~mask, axis=time_axis, stable=True)
    return Order(mask, places, jnp.sum(mask, time_axis, dtype=jnp.int32))


def to_front(found: Order, sequence: Shaped[Array, "..."], time_axis: int) -> Shaped[Array, "..."]:
    """Move the steps of `sequence`, [..., T] or with features, to the front."""
    if is_debugged() and sequence.ndim > found.mask.ndim:
        # Else an engine clears what is masked, where it costs nothing.
        sequence = jnp.where(found.mask[..., None], sequence, jnp.zeros((), sequence.dtype))
    return _taken(sequence, found.places, time_axis)


def back(found: Order, sequence: Shaped[Array, "..."], time_axis: int) -> Shaped[Array, "..."]:
    """Move the outputs [..., T, H] of such a run to where its steps were."""
    return _taken(sequence, jnp.argsort(found.places, axis=time_axis), time_axis)


def _taken(sequence: Array, places: Array, time_axis: int) -> Array:
    if sequence.ndim == places.ndim:
        return jnp.take_along_axis(sequence, places, axis=time_axis)
    axis = time_axis if time_axis >= 0 else time_axis - 1  # features come after it
    return jnp.take_along_axis(sequence, places[..., None], axis=axis)
