"""Draws which classes a run takes for which: `confusion.json` -> `confusion.png`.

Knows neither jax nor the model.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.plots.fonts import families
from experiments.plots.style import figure, heading, save
from experiments.runs.directory import RunDir
from experiments.storage.files import read_json, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE, PICTURE = "confusion.json", "confusion.png"
# More classes would be a poster: those with the most mistakes are drawn.
MOST = 40
_LONGEST = 24


class Confusion(NamedTuple):
    """What a run answers to its test part.

    Attributes:
        classes: what the labels are called.
        counts: int64 [C, C]; row by row the examples of a class, and what was answered to them.
    """

    classes: tuple[str, ...]
    counts: np.ndarray

    @property
    def shares(self) -> list[float]:
        """Of each class how much was answered rightly; NaN where no example is of it."""
        with np.errstate(invalid="ignore"):
            return (self.counts.diagonal() / self.counts.sum(1)).tolist()


def write(run_dir: str | Path, found: Confusion) -> None:
    """Write `confusion.json`: `classes`, and `counts` as lists of whole numbers."""
    content = {"classes": list(found.classes), "counts": found.counts.tolist()}
    write_text(Path(run_dir) / FILE, json.dumps(content) + "\n")


def read(run_dir: str | Path) -> Confusion | None:
    """What `write` wrote, or None where nothing was.

    Raises:
        UserError: it is damaged.
    """
    path = Path(run_dir) / FILE
    if not path.exists():
        return None
    content = read_json(path)
    try:
        classes, counts = tuple(content["classes"]), np.array(content["counts"], np.int64)
        if counts.shape != (len(classes),) * 2 or not all(isinstance(c, str) for c in classes):
            raise ValueError
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UserError(
            f"{path} is damaged; delete it, and the command of the run with --resume makes it again"
        ) from None
    return Confusion(classes, counts)


def draw(run_dir: str | Path) -> Path:
    """Write the picture into a run's directory, from its files alone; its path.

    Raises:
        UserError: this is no run, or it has no answers yet.
    """
    directory = RunDir(run_dir)
    config, found = directory.config(), read(directory.path)
    if found is None:
        raise UserError(f"{directory.path / FILE} is missing; it comes with the end of a run")
    n, right = int(found.counts.sum()), int(found.counts.trace())
    title = [*heading(config), f"test {right / max(1, n):.2%} ({n - right:,} of {n:,} wrong)"]
    made = picture(found, title=" · ".join(title), unit="texts", axes=("answer", "label"))
    save(made, directory.path / PICTURE)
    return directory.path / PICTURE


def picture(found: Confusion, *, title: str, unit: str, axes: tuple[str, str]) -> "Figure":
    """How often each class was taken for each other one; only the mistakes are coloured.

    Args:
        found: the counts.
        title: of the picture.
        unit: what was counted, "images".
        axes: what stands below and beside.
    """
    from matplotlib.ticker import MaxNLocator

    counts, names = found.counts, [_short(name) for name in found.classes]
    if len(names) > MOST:
        mistakes = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        worst = np.sort(np.argsort(-mistakes, kind="stable")[:MOST])
        title += f"\nthe {MOST} classes with the most mistakes, of {len(names):,}"
        counts, names = counts[np.ix_(worst, worst)], [names[n] for n in worst]
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    most = max(int(wrong.max()), 1)
    # Room for the names, and for a figure of four digits in each cell.
    side, longest = max(9.0, 0.5 * len(names)), max(map(len, names))
    made = figure(side + 0.08 * longest, side - 1.6 + 0.08 * longest, title, dpi=130, fontsize=12)
    drawn = made.subplots()
    # The worst is the loudest, and dark in print. The right answers are hundreds: on one scale
    # with the mistakes they would leave them all one colour.
    image = drawn.imshow(np.ma.masked_equal(wrong, 0), cmap="OrRd", vmin=0, vmax=most)
    bar = made.colorbar(image, ax=drawn, shrink=0.75, pad=0.03)
    bar.set_label(f"mistakes ({unit})")
    bar.locator = MaxNLocator(integer=True, min_n_ticks=1)
    bar.update_ticks()
    _write(drawn, counts, most)
    drawn.set(xlabel=axes[0], ylabel=axes[1])
    _name(drawn, names)
    return made


def _write(axes: "Axes", counts: np.ndarray, most: int) -> None:
    """The counts in their cells, and at the end of each row the share that is right."""
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    for (true, said), count in np.ndenumerate(counts):
        if true == said:
            axes.text(said, true, f"{count:,}", color="0.35", **centred)
        elif count:
            colour = "white" if count >= 0.5 * most else "black"
            axes.text(said, true, f"{count:,}", color=colour, fontweight="bold", **centred)
    beside, above = 1.015 * len(counts) - 0.5, -0.025 * len(counts) - 0.5
    for true, row in enumerate(counts):
        if row.sum():
            axes.text(beside, true, f"{row[true] / row.sum():.1%}", va="center", color="0.2")
    axes.text(beside, above, "right", va="center", color="0.2")


def _name(axes: "Axes", names: Sequence[str]) -> None:
    """The classes on both axes, upright below where they are words; a grid between the cells."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(names)), names)
        axis.set_ticks(np.arange(len(names) + 1) - 0.5, minor=True)
        for label in axis.get_majorticklabels():
            label.set_parse_math(False)
            label.set_fontfamily(families("DejaVu Sans"))
    if max(map(len, names)) > 2:
        axes.tick_params(axis="x", rotation=90)
    axes.grid(which="minor", color="0.85")
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
