"""The curves of a run: `metrics.jsonl` -> `curves.png`. Knows neither jax nor the model."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.config.cli import UserError
from experiments.runs.directory import RunDir, best_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sky blue and a darkened vermilion, after Okabe and Ito: told apart by every kind of eye, and in
# grey by lightness; the lines differ by dash and marker, too.
TRAINING: dict[str, Any] = {
    "label": "training", "color": "#56B4E9", "linestyle": "--", "marker": "o", "markersize": 5,
}  # fmt: skip
VALIDATION: dict[str, Any] = {
    "label": "validation", "color": "#B3400E", "linestyle": "-", "marker": "s", "markersize": 5,
}  # fmt: skip
BEST: dict[str, Any] = {
    "label": "best epoch", "linestyle": "none", "marker": "o", "markersize": 13,
    "markerfacecolor": "none", "markeredgecolor": "0.1", "markeredgewidth": 1.6,
}  # fmt: skip
NAMES = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}
WITHOUT = "no recurrence"


def draw(run_dir: str | Path) -> Path:
    """Write `curves.png` into a run's directory, from its files alone; the path of the picture.

    Raises:
        UserError: this is no run, it has no rows yet, or a file is damaged.
    """
    directory = RunDir(run_dir)
    rows, config = directory.rows(), directory.config()
    if not rows:
        raise UserError(f"{directory.path} has no metrics.jsonl with a row yet; train an epoch")
    picture = directory.path / "curves.png"
    save(curves(rows, title=title(config, directory.summary(), rows)), picture)
    return picture


class LivePicture:
    """The picture of a run that goes on: drawn for its first row, then when the last is old enough.

    A picture takes 0.1 to 0.2 seconds, as does an epoch of a small model.
    """

    SECONDS = 5

    def __init__(self, run_dir: str | Path):
        self.run_dir, self.drawn = run_dir, -math.inf

    def draw(self, now: float) -> None:
        """As the function `draw`, where that is due at this time in seconds."""
        if now - self.drawn > self.SECONDS:
            draw(self.run_dir)
            self.drawn = now


def title(
    config: dict[str, Any], summary: dict[str, Any] | None, rows: Sequence[dict[str, Any]]
) -> str:
    """Data set, cell and result: "IMDB sentiment · GRU(32) · best validation accuracy ..."."""
    best = best_row(rows)
    parts = heading(config)
    parts.append(f"best validation accuracy {best['val_accuracy']:.1%} (epoch {best['epoch']})")
    if summary is not None:
        parts.append(f"test {summary['test_accuracy']:.1%}")
    return " · ".join(parts)


def heading(config: dict[str, Any]) -> list[str]:
    """What every picture of a run says first: data set and cell, and where it is the sample."""
    settings = config.get("settings", {})
    cell = f"{NAMES.get(str(settings.get('cell')), settings.get('cell'))}({settings.get('units')})"
    layers = settings.get("layers", 1)
    if settings.get("cell") == "none":
        cell = WITHOUT
    elif layers != 1:
        cell = f"{layers} x {cell}"
    if settings.get("bidirectional"):
        cell = f"bidirectional {cell}"
    sample = ["dataset: sample"] if config.get("dataset") == "sample" else []
    return [config.get("title", ""), cell, *sample]


def curves(rows: Sequence[dict[str, Any]], *, title: str) -> "Figure":
    """Accuracy and loss side by side, training and validation, the best epoch marked."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure(figsize=(11, 4.9), dpi=150, layout="constrained")
    figure.suptitle(_in_lines(title), fontsize=13, fontweight="bold", parse_math=False)
    best, last = best_row(rows), max(row["epoch"] for row in rows)
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for part, style in (("train", TRAINING), ("val", VALIDATION)):
            values = [row[f"{part}_{name}"] for row in rows]
            every = math.ceil(len(rows) / 40)  # of many epochs not each has a marker
            axes.plot([row["epoch"] for row in rows], values, markevery=every, **style)
        axes.axvline(best["epoch"], color="0.55", linewidth=1, linestyle=":", zorder=0)
        axes.plot([best["epoch"]], [best[f"val_{name}"]], **BEST)
        axes.set_xlabel("epoch", fontsize=12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.6, last + 0.4)
        axes.margins(y=0.12)
        axes.tick_params(labelsize=11)
        axes.grid(color="0.92", zorder=-1)
        axes.spines[["top", "right"]].set_visible(False)
        _label(axes, rows, rows.index(best), name)
    accuracy, loss = figure.axes
    accuracy.set_ylabel("accuracy (%)", fontsize=12)
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}"))
    loss.set_ylabel("loss (cross-entropy, nats)", fontsize=12)
    # One for both, below them: inside, there is no corner that no curve ever visits.
    figure.legend(
        handles=accuracy.get_lines()[:2] + accuracy.get_lines()[3:],
        loc="outside lower center", ncols=3, frameon=False, fontsize=12,
    )  # fmt: skip
    return figure


def _in_lines(title: str, longest: int = 92) -> str:
    """A title too long for the picture, broken at the " · " nearest to its middle."""
    places = [i for i in range(len(title)) if title.startswith(" · ", i)]
    if len(title) <= longest or not places:
        return title
    place = min(places, key=lambda i: abs(i + 1 - len(title) / 2))
    return title[:place] + "\n" + title[place + 3 :]


def _label(axes: "Axes", rows: Sequence[dict[str, Any]], best: int, name: str) -> None:
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
    axes.annotate(
        f"{value:.1%}" if name == "accuracy" else f"{value:.3f}",
        (rows[best]["epoch"], value), xytext=(9 * side, 16 * up), textcoords="offset points",
        ha="left" if side > 0 else "right", va="center", fontsize=12, fontweight="bold",
        path_effects=[withStroke(linewidth=4, foreground="white")],
    )  # fmt: skip


def save(figure: "Figure", path: Path) -> None:
    """Write a PNG whole beside its place and rename it into it."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", facecolor="white")
    os.replace(partial, path)
