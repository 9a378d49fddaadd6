"""What a finished run has learnt, read back from its checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.checkpoint import Checkpoints


def best_params(
    checkpoints: Checkpoints, like: Any, settings: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[int, Any]:
    """Step and parameters of the best checkpoint, in the form of `like`: what is evaluated."""
    name = "average" if settings.get("average") else "params"
    step, arrays, _ = checkpoints.restore_best({name: like}, say)
    return step, arrays[name]
