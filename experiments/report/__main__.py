"""Compare runs: one table and one picture, `python -m experiments.report RUNS...`.

    python -m experiments.report runs/imdb-*-seed0 --out docs/imdb
    python -m experiments.report runs/* --page RESULTS.md

Reads nothing but the files of the runs. Any set of runs, finished or not, of any data set.
"""

import dataclasses
import re
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments.config.cli import UserError, parse, path, run
from experiments.plots.curves import heading, save
from experiments.report import memory_page
from experiments.report import page as runs_page
from experiments.runs.directory import Loaded, best_row, load
from experiments.storage.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, from dark to light; line style and marker change with every run, too.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
LINES, MARKERS = ("-", "--", "-.", ":"), "osD^vPX"


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
    columns = (
        "run", "data", "model", "parameters", "best validation accuracy", "epoch",
        "test accuracy", "seconds per epoch", "jax",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for one in runs:
        best, end = best_row(one.rows), one.summary
        # The first epoch compiles.
        later = [row["seconds"] for row in one.rows[1:]] or [one.rows[0]["seconds"]]
        cells = (
            one.name,
            one.config.get("dataset"),
            heading(one.config)[1],
            f"{end['parameters']:,}" if end else "-",
            f"{best['val_accuracy']:.4f}",
            best["epoch"],
            f"{end['test_accuracy']:.4f}" if end else "not finished",
            f"{statistics.median(later):.1f}",
            one.config.get("versions", {}).get("jax", "-"),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def write_page(page: Path, runs: Sequence[Loaded], studies: Sequence[memory_page.Study]) -> None:
    """The page of results, with a picture for each section."""
    docs = page.parent / "docs"
    docs.mkdir(exist_ok=True)
    text = (
        "# Results\n\nWritten by `python -m experiments.report RUNS --page RESULTS.md` out of the "
        "files of the runs; nothing here is typed by hand. Each command has `--seed SEED` and "
        "`--data-dir` besides. Seconds per epoch are the median of the epochs behind the first, "
        "validation included.\n"
    )
    for key, of in runs_page.sections(runs).items():
        name = f"results-{re.sub(r'[^a-z0-9]+', '-', key.lower())}.png"
        names = zip(of, runs_page.names(of), strict=True)
        named = [dataclasses.replace(one, name=said) for one, said in names]
        save(picture(named), docs / name)
        picture_line = f"![Validation accuracy and loss by epoch](docs/{name})"
        text += f"\n{runs_page.section(key, of)}\n{picture_line}\n"
    for task, some in memory_page.sections(studies).items():
        text += f"\n{memory_page.section(task, some)}"
        for study in some:
            name = f"results-{study.path.name}.png"
            shutil.copy(study.path / memory_page.PICTURES[task], docs / name)
            text += f"\n![{study.path.name}](docs/{name})\n"
    write_text(page, text)


def picture(runs: Sequence[Loaded]) -> "Figure":
    """Validation accuracy and loss of every run by epoch, the best epoch of each marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    titles = dict.fromkeys(one.config.get("title", "") for one in runs)
    samples = any(one.config.get("dataset") == "sample" for one in runs)
    parts = [*titles, f"{len(runs)} runs", *(["dataset: sample"] if samples else [])]
    figure.suptitle(" · ".join(parts), fontsize=12.5, fontweight="bold", parse_math=False)
    accuracy, loss = figure.subplots(1, 2)
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        for n, one in enumerate(runs):
            best, colour = best_row(one.rows), COLOURS[n % len(COLOURS)]
            style = {
                "color": colour,
                "linestyle": LINES[n % len(LINES)],
                "marker": MARKERS[n % len(MARKERS)],
            }
            epochs = [row["epoch"] for row in one.rows]
            values = [row[f"val_{name}"] for row in one.rows]
            axes.plot(epochs, values, label=one.name, markersize=4, **style)
            axes.plot(
                [best["epoch"]],
                [best[f"val_{name}"]],
                marker="o",
                markersize=11,
                linestyle="none",
                markerfacecolor="none",
                markeredgecolor=colour,
            )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="0.92", zorder=-1)
        axes.spines[["top", "right"]].set_visible(False)
    accuracy.set_ylabel("validation accuracy (%)")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    loss.set_ylabel("validation loss (cross-entropy, nats)")
    handles = accuracy.get_legend_handles_labels()
    for text in figure.legend(*handles, loc="outside right center", frameon=False).get_texts():
        text.set_parse_math(False)  # a directory may have any name
    return figure


def main(args: list[str] | None = None) -> None:
    """Print the table, and write what `--out` asks for."""
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
        write_page(Path(settings.page), runs, [study for study in studies.values() if study])
        print(settings.page)
        if not runs:
            return
    text = table(runs)
    if settings.out is not None:
        out = Path(settings.out)
        if not out.parent.is_dir():
            raise UserError(f"--out {out}: {out.parent} is no directory; make it first")
        save(picture(runs), out.with_name(f"{out.name}.png"))
        write_text(out.with_name(f"{out.name}.md"), text)
    print(text, end="")


if __name__ == "__main__":
    run(main)
