"""Runs a layer or a stack on the steps that a mask leaves.

They are moved to the front of each sequence, where they are a sequence with a length, which every
engine runs exactly; the outputs are moved back. So holes and padding on the left are padding on the
right.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxrnn._checks import checked_mask, checked_resets, is_debugged


def masked(
    run: Callable[..., tuple[Any, Array]],
    xs: Array,
    mask: ArrayLike,
    resets: ArrayLike | None,
    lengths: ArrayLike | None,
    time_major: bool,
) -> tuple[Any, Array]:
    """Call `run(xs, lengths=, resets=)` with the steps that are left; give its results."""
    mask = checked_mask(mask, lengths, xs.shape[:-1])
    if resets is not None:
        resets = checked_resets("resets", resets, mask.shape, "xs")
    if is_debugged():  # else an engine clears what is masked, where it costs nothing
        xs = jnp.where(mask[..., None], xs, jnp.zeros((), xs.dtype))
    axis = 0 if time_major else mask.ndim - 1
    places = jnp.argsort(~mask, axis=axis, stable=True)
    state, hs = run(
        jnp.take_along_axis(xs, places[..., None], axis=axis),
        lengths=jnp.sum(mask, axis, dtype=jnp.int32),
        resets=None if resets is None else jnp.take_along_axis(resets, places, axis=axis),
    )
    back = jnp.argsort(places, axis=axis)
    return state, jnp.take_along_axis(hs, back[..., None], axis=axis)
