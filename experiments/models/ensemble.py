"""Trains several networks side by side, and lets them answer together."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class Ensemble(nnx.Module):
    """Members that see the same batches, each with weights and dropout of its own.

    In training (with a key) each gives its own logits, [N, B, C], for each has to learn by itself:
    trained on their mean they would leave the work to one. Asked (without a key), they answer with
    the mean of their logits, [B, C] (Hansen and Salamon, 1990).
    """

    def __init__(self, members: Sequence[Any]):
        self.members = nnx.List(members)

    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array,
        key: jax.Array | None = None,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Logits [N, B, C] with a key, [B, C] without one."""
        batch, count = (inputs, lengths), len(self.members)
        if key is None:
            return jnp.stack([member(*batch, None, axis_name) for member in self.members]).mean(0)
        keys = jax.random.split(key, count)
        return jnp.stack([self.members[n](*batch, keys[n], axis_name) for n in range(count)])


def members(model: Any) -> list[Any]:
    """The single networks of a model."""
    return list(model.members) if isinstance(model, Ensemble) else [model]
