"""Tells before a network is drawn that it cannot fit into memory: its sizes are known."""

import math
from typing import Any

import jax

from experiments.config.cli import UserError
from experiments.models.build import shapes
from experiments.runs.environment import memory

# Arrays as large as the parameters that the optimizer keeps.
KEPT = {"rmsprop": 1, "adam": 2, "adamw": 2, "sgd": 1}


def check(settings: Any, vocabulary: int | None) -> None:
    """Raise `UserError` where parameters, gradient and optimizer alone take more than there is.

    What a step keeps for its gradient comes on top and is not counted: this stops what cannot be.
    """
    there = available()
    if there is None:
        return
    model, training = settings.model, settings.training
    leaves = jax.tree.leaves(shapes(settings, vocabulary)[1])
    parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    # Themselves, as they were drawn, their gradient, the average.
    copies = 3 + KEPT[training.optimizer] + (training.average > 0)
    needed = 4 * parameters * copies
    if needed > there:
        sizes = f"--units {model.units}, --layers {model.layers}, --members {model.members}"
        raise UserError(
            f"{sizes}: the network has {parameters:,} parameters, and to train them takes "
            f"{needed / 1e9:,.0f} GB; there are {there / 1e9:,.0f} GB. Give smaller numbers"
        )


def available() -> int | None:
    """Bytes of memory of the first device; of the machine, where that is a CPU; None: not known."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return memory()
    return (device.memory_stats() or {}).get("bytes_limit")
