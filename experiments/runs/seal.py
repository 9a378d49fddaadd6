"""Tells by a checkpoint's seal whether it is of this run.

The files of a run can be edited, exchanged with another run's or put back from an old copy, each
whole in itself. So settings and digests of the data stand in every checkpoint, under its seal, and
in `config.json`; where the two differ, nothing is trained and nothing is answered.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config.cli import UserError, flag
from experiments.config.imdb import NAMES
from experiments.runs.directory import FREE

# Settings that may name a file: the digests in `data` tell which, wherever it lies.
FILES = {"data", "test_data", "embeddings"}


def is_same(name: str, was: Any, now: Any) -> bool:
    """Whether a setting decides the same with both values."""
    if name in FILES and None not in (was, now):
        return was == now or (was not in NAMES and now not in NAMES)
    return bool(was == now)


def names_digest(classes: Sequence[str]) -> str:
    """SHA-256 of what the labels are called, in their order."""
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()


def fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that decides what is computed, for the seal of a checkpoint."""
    settings = {name: value for name, value in config["settings"].items() if name not in FREE}
    return {"dataset": config["dataset"], "data": config["data"], "settings": settings}


def check_sealed(meta: Mapping[str, Any], known: Mapping[str, Any], where: Path) -> None:
    """Raise `UserError` where the `fixed` in a checkpoint's `meta` contradicts what is known.

    Only what both name is compared: older checkpoints lack it, and who asks may not have the data.
    """
    if not isinstance(meta.get("rows"), list):
        raise UserError(f"{where} is no checkpoint of a training; give the run's own checkpoints")
    sealed = meta.get("run")
    if not isinstance(sealed, Mapping):
        return
    for part in ("settings", "data"):
        was, now = sealed.get(part), known.get(part)
        if not isinstance(was, Mapping) or not isinstance(now, Mapping):
            continue
        # More epochs at a constant rate change nothing of those that were trained.
        longer = {"epochs"} if was.get("schedule") == "constant" else set()
        for name in sorted(was.keys() & now.keys() - FREE - longer):
            if not is_same(name, was[name], now[name]):
                what = flag(name) if part == "settings" else f"the {name} data"
                raise UserError(
                    f"{where} was saved with {what} {was[name]}, and the run has {now[name]}: "
                    "one of them is of another run, or was edited; put back what belongs together"
                )
    was, now = sealed.get("dataset"), known.get("dataset", sealed.get("dataset"))
    if was != now:
        raise UserError(
            f"{where} was trained on {was}, and the run is on {now}; put the right back"
        )
