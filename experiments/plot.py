"""Draws the pictures of a run again, from its files alone.

python -m experiments.plot runs/imdb-gru-seed0
"""

import dataclasses
from typing import Annotated

import tyro

from experiments.config.cli import parse, run
from experiments.plots import confusion, curves, digits
from experiments.runs.directory import RunDir


@dataclasses.dataclass(frozen=True)
class Settings:
    """Draw the pictures of a run again: its curves, what it confuses and, of digits, its mistakes.

    example: python -m experiments.plot runs/imdb-gru-seed0
    """

    run_dir: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    """Directory of a run."""


def main(args: list[str] | None = None) -> None:
    """Draw one run's pictures and print their paths."""
    directory = RunDir(parse(Settings, args, prog="python -m experiments.plot").run_dir)
    print(curves.draw(directory.path))
    if (directory.path / digits.FILE).exists():
        print(*digits.draw(directory.path), sep="\n")
    if (directory.path / confusion.FILE).exists():
        print(confusion.draw(directory.path))


if __name__ == "__main__":
    run(main)
