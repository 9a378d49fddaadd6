"""Compares runs: one table and one picture, `python -m experiments.report RUNS...`.

    python -m experiments.report runs/imdb-*-seed0 --out docs/imdb
    python -m experiments.report runs/* --page RESULTS.md

Reads nothing but the files of the runs. Any set of runs, finished or not, of any data set.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments.config.cli import UserError, parse, path, run
from experiments.plots.style import save
from experiments.report import memory_page, page
from experiments.report.table import by_class, deviations, table
from experiments.runs.directory import RunDir
from experiments.runs.results import Loaded, load
from experiments.storage.files import base, write_text


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare runs in one table and, with --out, one picture.

    example: python -m experiments.report runs/imdb-*-seed0 --out docs/imdb
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Directories of runs."""
    out: Annotated[str | None, path("the table only, on the screen", metavar="NAME")] = None
    """Write the table to NAME.md and the picture to NAME.png."""
    page: Annotated[str | None, path("no page", metavar="FILE")] = None
    """Write the runs model by model beside the tutorials' figures, and their pictures into the
    directory docs next to the page; directories of `experiments.memory` may be among the runs."""


def _finished(directories: Sequence[str]) -> list[Loaded]:
    """The runs that have a finished epoch; a line for each other, so that `runs/*` can be said."""
    runs = []
    for directory in directories:
        if RunDir(directory).config() and not RunDir(directory).rows():
            _say(f"{directory} is left out: it has no finished epoch yet")
        else:
            runs.append(load(directory))
    return runs


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def main(args: list[str] | None = None) -> None:
    """Print the table, and write what `--out` and `--page` ask for."""
    settings = parse(Settings, args, prog="python -m experiments.report")
    if not settings.runs:
        raise UserError("no run is named; give at least one directory of a run")
    studies = {directory: memory_page.load(directory) for directory in settings.runs}
    if settings.page is None:
        for directory in [directory for directory, study in studies.items() if study]:
            _say(f"{directory} is left out: it is a study of memory, which --page shows")
            del studies[directory]
    out = None if settings.out is None else base("--out", settings.out)
    runs = _finished([directory for directory, study in studies.items() if study is None])
    if settings.page is not None:
        if not Path(settings.page).parent.is_dir():
            raise UserError(f"--page {settings.page}: its directory is not there; make it first")
        page.write(Path(settings.page), runs, [study for study in studies.values() if study])
        print(settings.page)
        if not runs:
            return
    if not runs:
        raise UserError(f"{', '.join(settings.runs)}: no run among these has a finished epoch")
    text = table(runs) + deviations(runs) + by_class(runs)
    if out is not None:
        from experiments.report.picture import picture

        save(picture(runs), out.with_name(f"{out.name}.png"))
        write_text(out.with_name(f"{out.name}.md"), text)
    print(text, end="")


if __name__ == "__main__":
    run(main)
