"""Keeps the files of a run. Other programs read them: names and fields are a contract.

    config.json     settings as resolved, versions, devices
    metrics.jsonl   a row for each epoch
    gradients.jsonl another: the mean gradient norm before clipping, steps left out so far
    summary.json    the result, once there is one
    curves.png      (plots/curves.py)
    checkpoints/    (checkpoint.py)

A command that makes results in minutes, without checkpoints, has `config.json` and `results.jsonl`
in an `OutDir`. Each file is there completely or not at all (`storage.files`).
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.config.cli import UserError
from experiments.runs.lock import HOLDER, LOCK, DirectoryLock
from experiments.storage.files import read_json, write_text

ROW = ("epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds")
GRADIENTS = ("epoch", "step", "gradient_norm", "skipped")
# What tensorstore (under orbax-checkpoint 0.12) takes for something else, or not at all.
ODD = re.compile(r"[\[\\\ud800-\udfff]|(?<=/)gs:(?=/|$)")
VOCABULARY = "vocabulary.txt"  # of a text's run
CONFIG = {"task": str, "title": str, "dataset": str, "settings": dict, "versions": dict,
          "data": dict, "devices": list, "classes": list}  # fmt: skip

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
    "init_from",  # the digest of the weights says what it stands for
    "seeds",
    "log",
}
FREE |= {"devices", "pmap", "coordinator", "processes", "process_id"}  # but for rounding


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
        left = (LOCK, HOLDER, ".config.json.partial")
        return self.path.is_dir() and all(file.name in left for file in self.path.iterdir())

    def check(self, *, resume: bool) -> None:
        """Raise `UserError` where a run here would overwrite something or has nothing to resume."""
        # A job script has --resume in its command from the first time on.
        if resume and not self.holds_run() and self.checkpoints.exists():
            raise UserError(
                f"--resume: {self.path} has checkpoints and no config.json; put it back from a "
                "copy, for it says what they are of"
            )
        if not resume and self.holds_run():
            raise UserError(
                f"--run-dir {self.path} already holds a run; add --resume to continue it, "
                "or name another directory"
            )
        _check_place("--run-dir", self.path)
        if odd := ODD.search(self.path.resolve().as_posix()):
            raise UserError(
                f"--run-dir {self.path} has {odd[0]!r} in its whole name, and Orbax writes no "
                "checkpoint there; name another directory"
            )
        if not self.holds_run() and self.path.is_dir() and not self.is_fresh():
            raise UserError(
                f"--run-dir {self.path} holds other files; name an empty or a new directory"
            )

    @contextmanager
    def locked(self, *, resume: bool) -> Iterator[DirectoryLock]:
        """Make the directory if need be, and keep it for this process; `UserError` as `check`."""
        _make("--run-dir", self.path)
        with DirectoryLock(self.path) as lock:
            # Once more: another run may have come and gone since the first look.
            self.check(resume=resume)
            yield lock

    def check_untrained(self) -> None:
        """Raise `UserError` where there are rows, and hence were checkpoints."""
        if rows := self.rows():
            raise UserError(
                f"{self.path} has {len(rows)} finished epochs and no checkpoint; put its "
                "checkpoints back, or begin again in another directory"
            )

    def create(self, config: dict[str, Any]) -> None:
        """Make the directory if need be, and write `config.json`."""
        _make("--run-dir", self.path)
        write_text(self.path / "config.json", json.dumps(config, indent=2) + "\n")

    def config(self) -> dict[str, Any]:
        """What `create` wrote; `UserError` where this is no run."""
        found = self._read("config.json")
        for name, kind in CONFIG.items():
            if name in found and not isinstance(found[name], kind):
                raise UserError(f"{self.path}/config.json is damaged: {name} is no {kind.__name__}")
        return found

    def has_config(self, config: Mapping[str, Any]) -> bool:
        """Whether `config.json` is there and holds this."""
        try:
            return read_json(self.path / "config.json") == json.loads(json.dumps(config))
        except UserError:
            return False

    def write_rows(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace `metrics.jsonl` by these rows, and `gradients.jsonl` by what else they hold."""
        for file, fields in (("metrics.jsonl", ROW), ("gradients.jsonl", GRADIENTS)):
            _write_rows(
                self.path / file, [{name: row.get(name) for name in fields} for row in rows]
            )

    def rows(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`, none where there is none yet."""
        path, rows = self.path / "metrics.jsonl", []
        if not path.exists():
            return []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            try:
                row = json.loads(line)
                rows.append({name: row[name] for name in ROW})
                if not all(map(_is_number, rows[-1].values())):
                    raise ValueError
            except (ValueError, TypeError, KeyError, RecursionError):
                raise UserError(f"{path} is damaged: line {number} is no row of metrics") from None
        return rows

    def append(self, name: str, line: str) -> None:
        """Add a line to the end of a file, in one write."""
        try:
            with open(self.path / name, "a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise UserError(f"{self.path / name} cannot be written ({error.strerror})") from None

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Replace `summary.json`."""
        write_text(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

    def forget_summary(self) -> None:
        """Delete the result, because the run goes on."""
        (self.path / "summary.json").unlink(missing_ok=True)

    def summary(self, numbers: Sequence[str] = ("test_accuracy",)) -> dict[str, Any] | None:
        """The result with at least these numbers, or None while there is none."""
        if not (self.path / "summary.json").exists():
            return None
        found = self._read("summary.json")
        for name in numbers:
            if not _is_number(found.get(name)):
                raise UserError(
                    f"{self.path / 'summary.json'} is damaged: {name} is no number; delete it, and "
                    "the command of the run with --resume makes it again"
                )
        return found

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.exists():
            if self.path.is_file():
                raise UserError(f"{self.path} is a file and no run; name a run's directory")
            there = "" if self.path.is_dir() else ", for nothing is there"
            raise UserError(f"{self.path} is no run: it has no {name}{there}")
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path} holds no JSON object")
        return content


class OutDir:
    """Where results go that nobody continues: a directory that holds any file is refused."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def check(self) -> None:
        """Raise `UserError` where results could not be written or would stand among others."""
        _check_place("--out", self.path)
        if self.path.is_dir() and any(self.path.iterdir()):
            raise UserError(f"--out {self.path} holds files; name an empty or a new directory")

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the directory and write `config.json`."""
        _make("--out", self.path)
        write_text(self.path / "config.json", json.dumps(config, indent=2) + "\n")

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace `results.jsonl` by these rows; each is there as soon as it is known."""
        _write_rows(self.path / "results.jsonl", rows)


def _check_place(flag: str, path: Path) -> None:
    """Raise `UserError` where no directory can be made or written."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{flag} {path} is a file; name a directory")
    if path.is_symlink() and not path.exists():
        raise UserError(
            f"{flag} {path} is a link to {path.readlink()}, which is not there; make it"
        )
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise UserError(f"{flag} {path} lies in a file, {existing}; name a directory")
    if not os.access(existing, os.W_OK):
        raise UserError(f"{flag} {path} cannot be written; name another directory")


def _make(flag: str, path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be made ({error.strerror})") from None


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def _is_number(value: object) -> bool:
    """Whether anybody can compute with it, or draw it: JSON can hold integers of any size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**53
