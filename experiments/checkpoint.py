"""Looks after the checkpoints of a run.

python -m experiments.checkpoint verify runs/imdb-gru-seed0
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from experiments.config.cli import UserError, parse, run
from experiments.runs.checkpoint import verify
from experiments.runs.directory import RunDir
from experiments.runs.results import check_together


@dataclass(frozen=True)
class Settings:
    """Look after the checkpoints of a run."""

    command: tyro.conf.Positional[Literal["verify"]]
    """Read every step and say whether its files are what was saved."""
    run: tyro.conf.Positional[Path]
    """The run's directory."""


def main(args: list[str] | None = None) -> int:
    """Print each step with its verdict; 1 if one is damaged."""
    settings = parse(Settings, args, prog="python -m experiments.checkpoint")
    verdicts = verify(settings.run)
    if not verdicts:
        raise UserError(f"no checkpoint in {settings.run}; give the directory of a run")
    for step, _, text in verdicts:
        print(f"{step:>8}  {text}")
    if (settings.run / "config.json").exists():  # else it is the checkpoints alone
        check_together(RunDir(settings.run))
    return 0 if all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    run(main)
