"""Draws runs side by side for `experiments.report`: validation accuracy and loss by epoch."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.plots import style
from experiments.runs.results import Loaded, best_row

# Colour, dash and marker change with every run.
DASHES, MARKERS = ("-", "--", "-.", ":"), "osD^vPX"


def picture(runs: Sequence[Loaded]) -> Figure:
    """Validation accuracy and loss of every run by epoch, the best epoch of each marked.

    Each task has axes of its own: 0.9 is little for digits and much for reviews.
    """
    groups: dict[str, list[Loaded]] = {}
    for run in runs:
        groups.setdefault(run.config.get("title", ""), []).append(run)
    samples = any(run.config.get("dataset") == "sample" for run in runs)
    parts = [*groups, f"{len(runs)} runs", *(["dataset: sample"] if samples else [])]
    height = 4.8 * len(groups)
    figure = style.figure(11, height, " · ".join(parts), fontsize=12.5)
    rows: Any = [figure] if len(groups) == 1 else figure.subfigures(len(groups), 1)
    for row, (title, group) in zip(rows, groups.items(), strict=True):
        if len(groups) > 1:
            row.suptitle(title, fontsize=11.5, parse_math=False)
        _draw(row, group)
    return figure


def _draw(figure: Any, runs: Sequence[Loaded]) -> None:
    """The runs of one task, whose accuracies can be compared."""
    accuracy, loss = figure.subplots(1, 2)
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        for n, run in enumerate(runs):
            best, colour, dash = best_row(run.rows), style.COLOURS[n % 7], DASHES[n % 4]
            look = {"color": colour, "linestyle": dash, "marker": MARKERS[n % 7], "markersize": 4}
            epochs = [row["epoch"] for row in run.rows]
            axes.plot(epochs, [row[f"val_{name}"] for row in run.rows], label=run.name, **look)
            ring = {"markeredgecolor": colour, "markersize": 11, **style.RING}
            axes.plot([best["epoch"]], [best[f"val_{name}"]], **ring)
        style.by_epoch(axes)
    accuracy.set_ylabel("validation accuracy (%)")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    loss.set_ylabel("validation loss (cross-entropy, nats)")
    handles = accuracy.get_legend_handles_labels()
    for text in figure.legend(*handles, loc="outside right center", frameon=False).get_texts():
        text.set_parse_math(False)  # a directory may have any name
