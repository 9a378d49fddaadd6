"""Compares runs: one table and one picture, `python -m experiments.report RUNS...`.

    python -m experiments.report runs/imdb-*-seed0 --out docs/imdb
    python -m experiments.report runs/* --page RESULTS.md

Reads nothing but the files of the runs. Any set of runs, finished or not, of any data set.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from experiments.config.cli import UserError, parse, path, run
from experiments.plots.style import heading, save
from experiments.plots.tables import markdown
from experiments.report import memory_page, page
from experiments.runs.results import Loaded, best_row, load
from experiments.storage.files import write_text


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


def table(runs: Sequence[Loaded]) -> str:
    """The runs as a table in Markdown, in the order given."""
    return markdown([_row(run) for run in runs])


def _row(run: Loaded) -> dict[str, str]:
    best, end = best_row(run.rows), run.summary
    later = [row["seconds"] for row in run.rows[1:] or run.rows]  # the first epoch compiles
    return {
        "run": run.name,
        "data": str(run.config.get("dataset")),
        "model": heading(run.config)[1],
        "parameters": f"{end['parameters']:,}" if end else "-",
        "best validation accuracy": f"{best['val_accuracy']:.4f}",
        "epoch": str(best["epoch"]),
        "test accuracy": f"{end['test_accuracy']:.4f}" if end else "not finished",
        "seconds per epoch": f"{statistics.median(later):.1f}",
        "jax": str(run.config.get("versions", {}).get("jax", "-")),
    }


def main(args: list[str] | None = None) -> None:
    """Print the table, and write what `--out` and `--page` ask for."""
    settings = parse(Settings, args, prog="python -m experiments.report")
    if not settings.runs:
        raise UserError("no run is named; give at least one directory of a run")
    studies = {directory: memory_page.load(directory) for directory in settings.runs}
    if settings.page is None and any(studies.values()):
        named = next(directory for directory, study in studies.items() if study)
        raise UserError(f"{named} holds no run but a study of memory; add --page, or leave it out")
    runs = [load(directory) for directory, study in studies.items() if study is None]
    if settings.page is not None:
        if not Path(settings.page).parent.is_dir():
            raise UserError(f"--page {settings.page}: its directory is not there; make it first")
        page.write(Path(settings.page), runs, [study for study in studies.values() if study])
        print(settings.page)
        if not runs:
            return
    text = table(runs)
    if settings.out is not None:
        from experiments.report.picture import picture

        out = Path(settings.out)
        if not out.parent.is_dir():
            raise UserError(f"--out {out}: {out.parent} is no directory; make it first")
        save(picture(runs), out.with_name(f"{out.name}.png"))
        write_text(out.with_name(f"{out.name}.md"), text)
    print(text, end="")


if __name__ == "__main__":
    run(main)
