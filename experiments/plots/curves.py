"""Draws the curves of a run: `metrics.jsonl` -> `curves.png`. Knows neither jax nor the model."""

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.config.cli import UserError
from experiments.plots.style import RING, RUST, SKY, by_epoch, figure, heading, save
from experiments.runs.directory import RunDir
from experiments.runs.results import best_row, check_together

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[dict[str, Any]]
# In grey, lightness, dash and marker tell them apart.
TRAINING: dict[str, Any] = {"label": "training", "color": SKY, "linestyle": "--", "marker": "o"}
VALIDATION: dict[str, Any] = {"label": "validation", "color": RUST, "linestyle": "-", "marker": "s"}


def draw(run_dir: str | Path) -> Path:
    """Write `curves.png` into a run's directory, from its files alone; the path of the picture.

    Raises:
        UserError: this is no run, it has no rows yet, or a file is damaged.
    """
    directory = RunDir(run_dir)
    rows, config = directory.rows(), directory.config()
    if not rows:
        raise UserError(f"{directory.path} has no metrics.jsonl with a row yet; train an epoch")
    check_together(directory)
    picture = directory.path / "curves.png"
    save(curves(rows, title=title(config, directory.summary(), rows)), picture)
    return picture


class LivePicture:
    """The picture of a run that goes on: drawn for its first row, then when the last is old enough.

    A picture takes 0.1 to 0.2 seconds, as an epoch of a small model does. In a notebook it is also
    shown, each one in the place of the one before.
    """

    SECONDS = 5

    def __init__(self, run_dir: str | Path):
        self.run_dir, self.drawn = run_dir, -math.inf
        self._shown: Any = None

    def draw(self, now: float) -> None:
        """Do as the function `draw`, where that is due at this time in seconds."""
        if now - self.drawn > self.SECONDS:
            self.show(draw(self.run_dir))
            self.drawn = now

    def show(self, picture: Path) -> None:
        """Show it in the cell of a notebook; nothing anywhere else."""
        if not _is_notebook():
            return
        from IPython.display import Image, display

        image = Image(filename=str(picture))
        if self._shown is None:
            self._shown = display(image, display_id=True)
        else:
            self._shown.update(image)


def _is_notebook() -> bool:
    """Whether a notebook's kernel runs this: it has loaded IPython, and a terminal's is another."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def title(config: Mapping[str, Any], summary: Mapping[str, Any] | None, rows: Rows) -> str:
    """Data set, cell and result: "IMDB sentiment · GRU(32) · best validation accuracy ..."."""
    best = best_row(rows)
    parts = heading(config)
    parts.append(f"best validation accuracy {best['val_accuracy']:.1%} (epoch {best['epoch']})")
    if summary is not None:
        parts.append(f"test {summary['test_accuracy']:.1%}")
    return " · ".join(parts)


def curves(rows: Rows, *, title: str) -> "Figure":
    """Accuracy and loss side by side, training and validation, the best epoch marked."""
    from matplotlib.ticker import FuncFormatter

    made = figure(11, 4.9, _in_lines(title))
    best, last = best_row(rows), max(row["epoch"] for row in rows)
    for axes, name in zip(made.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for part, style in (("train", TRAINING), ("val", VALIDATION)):
            epochs, values = zip(*((r["epoch"], r[f"{part}_{name}"]) for r in rows), strict=True)
            every = math.ceil(len(rows) / 40)  # of many epochs not each has a marker
            axes.plot(epochs, values, markersize=5, markevery=every, **style)
        axes.axvline(best["epoch"], color="0.55", linewidth=1, linestyle=":", zorder=0)
        ring = {"label": "best epoch", "markersize": 13, "markeredgewidth": 1.6, **RING}
        axes.plot([best["epoch"]], [best[f"val_{name}"]], markeredgecolor="0.1", **ring)
        by_epoch(axes)
        axes.xaxis.label.set_size(12)
        axes.set_xlim(0.6, last + 0.4)
        axes.margins(y=0.12)
        axes.tick_params(labelsize=11)
        _label(axes, rows, rows.index(best), name)
    accuracy, loss = made.axes
    accuracy.set_ylabel("accuracy (%)", fontsize=12)
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}"))
    loss.set_ylabel("loss (cross-entropy, nats)", fontsize=12)
    # One for both, below them: inside, there is no corner that no curve ever visits.
    lines = accuracy.get_lines()
    shown = [*lines[:2], lines[3]]
    made.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False, fontsize=12)
    return made


def _in_lines(title: str, longest: int = 92) -> str:
    """A title too long for the picture, broken at the " · " nearest to its middle."""
    places = [i for i in range(len(title)) if title.startswith(" · ", i)]
    if len(title) <= longest or not places:
        return title
    place = min(places, key=lambda i: abs(i + 1 - len(title) / 2))
    return title[:place] + "\n" + title[place + 3 :]


def _label(axes: "Axes", rows: Rows, best: int, name: str) -> None:
    """The best epoch's value at the corner of its mark that the curves leave free."""
    from matplotlib.patheffects import withStroke

    values = [row[f"val_{name}"] for row in rows]
    value = values[best]
    if not math.isfinite(value):
        return
    up = -1 if rows[best][f"train_{name}"] > value else 1
    place = (best + 0.5) / len(rows)
    if 0 < best < len(rows) - 1 and 0.15 < place < 0.85:
        # The side on which the validation curve itself turns away from the label.
        side = 1 if up * values[best + 1] <= up * values[best - 1] else -1
    else:
        side = 1 if place <= 0.5 else -1
    text = f"{value:.1%}" if name == "accuracy" else f"{value:.3f}"
    style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontweight": "bold"}
    style |= {"ha": "left" if side > 0 else "right", "fontsize": 12}
    style |= {"path_effects": [withStroke(linewidth=4, foreground="white")]}
    axes.annotate(text, (rows[best]["epoch"], value), xytext=(9 * side, 16 * up), **style)
