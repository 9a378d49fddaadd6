"""Reads what a run achieved, for tables and pictures, and sees that its files belong together."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.config.cli import UserError
from experiments.runs.checkpoint import newest_meta
from experiments.runs.directory import ROW, RunDir
from experiments.runs.seal import check_sealed


def best_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The epoch with the highest validation accuracy; of equal ones the first. NaN is none."""
    return max(rows, key=lambda row: -math.inf if math.isnan(v := row["val_accuracy"]) else v)


@dataclasses.dataclass(frozen=True)
class Loaded:
    """One run's files, as `load` read them."""

    name: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any] | None
    path: Path | None = None

    def __repr__(self) -> str:
        """What a person asks first: a notebook shows it."""
        best = best_row(self.rows)
        test = (
            f"test accuracy {self.summary['test_accuracy']:.2%}" if self.summary else "not tested"
        )
        return (
            f"Loaded({self.name}: best validation accuracy {best['val_accuracy']:.2%} in epoch "
            f"{best['epoch']} of {len(self.rows)}, {test}; .config, .rows, .summary, .path)"
        )


def load(directory: str | Path) -> Loaded:
    """Read one run.

    Raises:
        UserError: it is no run, a file of it is damaged, or no epoch is finished yet.
    """
    found = RunDir(directory)
    config, rows = found.config(), found.rows()
    if not rows:
        raise UserError(f"{directory} has no finished epoch yet; leave it out, or wait")
    check_together(found)
    return Loaded(
        found.path.name, config, rows, found.summary(("parameters", "test_accuracy")), found.path
    )


def check_together(directory: RunDir) -> None:
    """Raise `UserError` where the files of a run are of different runs.

    Each of them is whole in itself, so they are compared: the settings, data and epochs in the
    newest checkpoint with `config.json` and `metrics.jsonl`, and the result with these. A run
    whose checkpoints were deleted is compared as far as it goes.
    """
    config, rows, result = directory.config(), directory.rows(), directory.summary(())
    settings = config.get("settings", {})
    if result is not None:
        known = {"dataset": config.get("dataset"), "cell": settings.get("cell")}
        for name in known.keys() & result.keys():
            if result[name] != known[name]:
                _refuse(directory, "summary.json", f"{name} {result[name]}", f"{known[name]}")
        best = result.get("best_epoch"), result.get("best_val_accuracy")
        epochs = [(row["epoch"], row["val_accuracy"]) for row in rows]
        if rows and None not in best and best not in epochs:
            here = "validation accuracy {1} in epoch {0}".format(*best)
            _refuse(directory, "summary.json", here, "another in metrics.jsonl")
    newest = newest_meta(directory.checkpoints)
    if newest is None:
        return
    where, meta = newest
    known = {name: config[name] for name in ("settings", "data", "dataset") if name in config}
    check_sealed(meta, known, where)
    # A run that was killed between the two writes has an epoch more in its checkpoint.
    for sealed, row in zip(meta["rows"], rows, strict=False):
        if any(sealed.get(name) != row[name] for name in ROW):
            _refuse(directory, "metrics.jsonl", f"another epoch {row['epoch']}", str(where))


def _refuse(directory: RunDir, file: str, has: str, other: str) -> None:
    raise UserError(
        f"{directory.path / file} has {has}, and the run has {other}: one of them is of another "
        "run, or was edited; put back what belongs together"
    )
