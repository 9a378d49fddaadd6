"""Draws runs side by side for `experiments.report`: validation accuracy and loss by epoch."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.plots import style
from experiments.runs.results import Loaded, best_row

# Colour, dash and marker change with every run.
DASHES, MARKERS = ("-", "--", "-.", ":"), "osD^vPX"


def picture(runs: Sequence[Loaded]) -> Figure:
    """Validation accuracy and loss of every run by epoch, the best epoch of each marked."""
    titles = dict.fromkeys(run.config.get("title", "") for run in runs)
    samples = any(run.config.get("dataset") == "sample" for run in runs)
    parts = [*titles, f"{len(runs)} runs", *(["dataset: sample"] if samples else [])]
    figure = style.figure(11, 4.8, " · ".join(parts), fontsize=12.5)
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
    return figure
