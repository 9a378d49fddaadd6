"""What a finished run has learnt, read back from its checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.runs.checkpoint import Checkpoints
from experiments.runs.provenance import check_sealed


def best_params(
    checkpoints: Checkpoints,
    like: Any,
    settings: Mapping[str, Any],
    say: Callable[[str], None],
    data: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Step and parameters of the best checkpoint, in the form of `like`: what is evaluated.

    Raises:
        UserError: there is none, or it was saved with other settings or data (`Task.digests`).
    """
    name = "average" if settings.get("average") else "params"
    step, arrays, meta = checkpoints.restore_best({name: like}, say)
    known = {"settings": settings, "data": data}
    check_sealed(meta, known, checkpoints.directory / str(step))
    return step, arrays[name]
