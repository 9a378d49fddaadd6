"""The files of a run. Other programs read them: names and fields are a contract.

    config.json     settings as resolved, versions, devices
    metrics.jsonl   a row for each epoch
    summary.json    the result, once there is one
    curves.png      (plot.py)
    checkpoints/    (checkpoint.py)

Each is written whole beside its place and renamed into it: it is there completely or not at all.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.cli import UserError, flag

ROW = ("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds")

# May differ when a run is continued: they change nothing of what is computed.
FREE = {"run_dir", "resume", "data_dir", "checkpoint_minutes"}
FREE |= {"devices", "pmap", "coordinator", "processes", "process_id"}  # but for rounding


def best_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The epoch with the highest validation accuracy; of equal ones the first. NaN is none."""
    return max(rows, key=lambda row: -math.inf if math.isnan(v := row["val_accuracy"]) else v)


class RunDir:
    """One run's directory. Nothing is made before `create`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"

    def holds_run(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "config.json").exists()

    def check(self, *, resume: bool) -> None:
        """Raise `UserError` where a run here would overwrite something or has nothing to resume."""
        if resume and not self.holds_run():
            raise UserError(
                f"--resume: {self.path} holds no run; leave --resume out to start one there"
            )
        if not resume and self.holds_run():
            raise UserError(
                f"--run-dir {self.path} already holds a run; add --resume to continue it, "
                "or name another directory"
            )
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--run-dir {self.path} is a file; name a directory")
        existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not os.access(existing, os.W_OK):
            raise UserError(f"--run-dir {self.path} cannot be written; name another directory")
        if not resume and self.path.is_dir() and any(self.path.iterdir()):
            raise UserError(
                f"--run-dir {self.path} holds other files; name an empty or a new directory"
            )

    def create(self, config: dict[str, Any]) -> None:
        """Make the directory and write `config.json`."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--run-dir {self.path} cannot be made ({error.strerror})") from None
        self._write("config.json", json.dumps(config, indent=2) + "\n")

    def config(self) -> dict[str, Any]:
        """What `create` wrote; `UserError` where this is no run."""
        return self._read("config.json")

    def check_same(self, config: dict[str, Any]) -> None:
        """Raise `UserError` unless a resumed run's settings and data are those it began with."""
        before = self.config()
        if before.get("dataset") != config["dataset"]:
            raise UserError(
                f"--resume: this run was trained on {before.get('dataset')}, "
                f"and the data is {config['dataset']} now"
            )
        for name, new in config["settings"].items():
            old = before.get("settings", {}).get(name)
            if name not in FREE and old != new:
                raise UserError(
                    f"--resume: {flag(name)} is {new}, but this run was started with {old}"
                )

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace `metrics.jsonl` by these rows."""
        self._write("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`, none where there is none yet."""
        path, rows = self.path / "metrics.jsonl", []
        if not path.exists():
            return []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            try:
                row = json.loads(line)
                rows.append({name: row[name] for name in ROW})
            except (ValueError, TypeError, KeyError):
                raise UserError(f"{path} is damaged: line {number} is no row of metrics") from None
        return rows

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace `summary.json`."""
        self._write("summary.json", json.dumps(summary, indent=2) + "\n")

    def summary(self) -> dict[str, Any] | None:
        """The result, or None while there is none."""
        return self._read("summary.json") if (self.path / "summary.json").exists() else None

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.exists():
            raise UserError(f"{self.path} is no run: it has no {name}")
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error})") from None
        if not isinstance(content, dict):
            raise UserError(f"{path} holds no JSON object")
        return content

    def _write(self, name: str, text: str) -> None:
        partial = self.path / f".{name}.partial"
        try:
            with open(partial, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path / name)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise UserError(f"{self.path / name} cannot be written ({error.strerror})") from error
