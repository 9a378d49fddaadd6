"""The files of a run. Other programs read them: names and fields are a contract.

    config.json     settings as resolved, versions, devices
    metrics.jsonl   a row for each epoch
    gradients.jsonl another: the mean gradient norm before clipping, steps left out so far
    summary.json    the result, once there is one
    curves.png      (plot.py)
    checkpoints/    (checkpoint.py)

Each is written whole beside its place and renamed into it: it is there completely or not at all.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments import lock
from experiments.atomic import write_text
from experiments.cli import UserError, flag

ROW = ("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds")
GRADIENTS = ("epoch", "step", "gradient_norm", "skipped")

# May differ when a run is continued: they change nothing of what is computed.
FREE = {
    "run_dir",
    "resume",
    "data_dir",
    "checkpoint_minutes",
    "checkpoint_steps",
    "config",
    "debug_nans",
    "on_nan",
    "max_skipped",
}
FREE |= {"devices", "pmap", "coordinator", "processes", "process_id"}  # but for rounding


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


def load(directory: str | Path) -> Loaded:
    """Read one run.

    Raises:
        UserError: it is no run, a file of it is damaged, or no epoch is finished yet.
    """
    found = RunDir(directory)
    loaded = Loaded(found.path.name, found.config(), found.rows(), found.summary())
    if not loaded.rows:
        raise UserError(f"{directory} has no finished epoch yet; leave it out, or wait")
    return loaded


class RunDir:
    """One run's directory. Nothing is made before `create`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"

    def holds_run(self) -> bool:
        """Whether a run was started here."""
        return (self.path / "config.json").exists()

    def is_fresh(self) -> bool:
        """Whether the directory holds nothing, or what a kill before the first file left there."""
        left = (lock.LOCK, lock.HOLDER, ".config.json.partial")
        return self.path.is_dir() and all(file.name in left for file in self.path.iterdir())

    def check(self, *, resume: bool) -> None:
        """Raise `UserError` where a run here would overwrite something or has nothing to resume."""
        # An empty directory is somebody's intention, a missing one may be a mistake in its name.
        if resume and not self.holds_run() and not self.is_fresh():
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
        if not resume and self.path.is_dir() and not self.is_fresh():
            raise UserError(
                f"--run-dir {self.path} holds other files; name an empty or a new directory"
            )

    @contextmanager
    def locked(self, *, resume: bool) -> Iterator[None]:
        """Make the directory if need be, and keep it for this process; `UserError` as `check`."""
        self._make()
        with lock.hold(self.path):
            # Once more: another run may have come and gone since the first look.
            self.check(resume=resume)
            yield

    def create(self, config: dict[str, Any]) -> None:
        """Make the directory if need be, and write `config.json`."""
        self._make()
        write_text(self.path / "config.json", json.dumps(config, indent=2) + "\n")

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--run-dir {self.path} cannot be made ({error.strerror})") from None

    def config(self) -> dict[str, Any]:
        """What `create` wrote; `UserError` where this is no run."""
        return self._read("config.json")

    def check_same(self, config: dict[str, Any]) -> list[str]:
        """Raise `UserError` unless a resumed run's settings and data are those it began with.

        Returns:
            A line for each version and for the devices, where they are others than before: they
            change the last digits of sums, and nothing of data, keys and order.
        """
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
        then, now = (
            {**c.get("versions", {}), "devices": c.get("devices")} for c in (before, config)
        )
        return [
            f"{name}: {then.get(name)} when this run was started, {now[name]} now. Data, order and "
            "keys are the same; sums may differ in their last digits."
            for name in now
            if then.get(name) != now[name]
        ]

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace `metrics.jsonl` by these rows, and `gradients.jsonl` by what else they hold."""
        for file, fields in (("metrics.jsonl", ROW), ("gradients.jsonl", GRADIENTS)):
            lines = [json.dumps({name: row.get(name) for name in fields}) + "\n" for row in rows]
            write_text(self.path / file, "".join(lines))

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

    def append(self, name: str, line: str) -> None:
        """Put a line behind what a file holds, in one write."""
        try:
            with open(self.path / name, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise UserError(f"{self.path / name} cannot be written ({error.strerror})") from None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace `summary.json`."""
        write_text(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

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
