"""The directory of a command that makes results in minutes, without checkpoints.

    config.json      settings as resolved, versions, devices
    results.jsonl    a row for each number
    *.png            (memory/plots.py)

Nothing is ever overwritten: a directory that holds any file is refused.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.config.cli import UserError
from experiments.runs.environment import machine, versions
from experiments.storage.files import write_text


class OutDir:
    """Where results go. `check` comes first, so that nobody waits for nothing."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def check(self) -> None:
        """Raise `UserError` where results could not be written or would stand among others."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"--out {self.path} is a file; name a directory")
        existing = next(p for p in (self.path, *self.path.absolute().parents) if p.exists())
        if not existing.is_dir():
            raise UserError(f"--out {self.path} lies in a file, {existing}; name a directory")
        if not os.access(existing, os.W_OK):
            raise UserError(f"--out {self.path} cannot be written; name another directory")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise UserError(f"--out {self.path} holds files; name an empty or a new directory")

    def create(self, task: str, settings: Mapping[str, Any], **more: Any) -> None:
        """Make the directory and write `config.json`."""
        import jax

        config = {
            "task": task,
            **more,
            "settings": settings,
            "versions": versions(),
            "machine": machine(),
            "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {self.path} cannot be made ({error.strerror})") from None
        write_text(self.path / "config.json", json.dumps(config, indent=2) + "\n")

    def write_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace `results.jsonl` by these rows; each is there as soon as it is known."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_text(self.path / "results.jsonl", text)
