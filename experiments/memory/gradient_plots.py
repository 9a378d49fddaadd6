"""Draws the picture of `experiments.memory gradients` from its rows alone."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.memory.plots import CELLS, Rows, by
from experiments.plots.style import BLUE, ORANGE, RUST, SKY, figure, plain

# From warm (exploding) to cool (vanishing), dark in the middle; dashes tell them apart in grey.
LADDER: Sequence[dict[str, Any]] = (
    {"color": RUST, "linestyle": "-"},
    {"color": ORANGE, "linestyle": "--"},
    {"color": "0.1", "linestyle": "-"},
    {"color": BLUE, "linestyle": "-."},
    {"color": SKY, "linestyle": ":"},
)
SMALLEST, LARGEST = 1e-10, 1e10


def draw(rows: Rows, *, dataset: str) -> Figure:
    """Four panels: the cells, the forget bias, the recurrent matrix, clipping."""
    name = "IMDB reviews" if dataset == "imdb" else f"dataset: {dataset}"
    made = figure(11, 8.6, f"Where does the gradient go? {name}, read out at the last word")
    (cells, forget), (matrix, clipping) = made.subplots(2, 2)
    study = by(rows, "study")
    _cells(cells, study["cells"])
    title = "LSTM, untrained: a larger forget bias\nkeeps more of the gradient"
    _ladder(forget, study["forget"], LADDER[1:], title)
    title = "SimpleRNN, untrained: the recurrent matrix\nmakes it explode or vanish"
    _ladder(matrix, study["matrix"], LADDER, title)
    for axes, top in ((cells, 1e6), (forget, 1e2), (matrix, LARGEST)):
        axes.set(yscale="log", ylim=(SMALLEST, top), xlabel="words before the end")
        axes.set_ylabel("‖d loss / d h‖, as a multiple\nof that at the last word")
        axes.set_xlim(0, len(study["matrix"][0]["median"]) - 1)
        axes.invert_xaxis()
        axes.axhline(1, color="0.6", linewidth=1, zorder=1)
        plain(axes)
    _clipping(clipping, study["clipping"])
    return made


def _cells(axes: Axes, rows: Rows) -> None:
    """Untrained dotted, trained solid, the reviews' 10th to 90th percentile as a band."""
    for row in rows:
        look, trained = CELLS[row["cell"]], row["state"] == "trained"
        style = {"color": look["color"], "marker": look["marker"], "markersize": 6}
        style |= {"linestyle": "-" if trained else ":", "linewidth": 2.2 if trained else 1.8}
        style |= {"markevery": (0.06 if trained else 0.1, 0.16)}
        label = f"{row['label']} {row['state']} ({row['accuracy']:.0%})"
        axes.plot(row["median"], label=label, **style)
        if trained:
            at = range(len(row["median"]))
            axes.fill_between(at, row["low"], row["high"], color=look["color"], alpha=0.12)
    axes.set_title("Each cell, before and after training\n(test accuracy)", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    columns = (handles[::2] + handles[1::2], labels[::2] + labels[1::2])  # untrained | trained
    axes.legend(*columns, loc="upper center", ncols=2, frameon=False, fontsize=9)


def _ladder(axes: Axes, rows: Rows, styles: Sequence[dict[str, Any]], title: str) -> None:
    for row, style in zip(rows, styles, strict=False):
        axes.plot(row["median"], linewidth=2.2, label=row["label"], **style)
    axes.set_title(title, fontsize=11)
    axes.legend(frameon=False, fontsize=9)


def _clipping(axes: Axes, rows: Rows) -> None:
    """Each step's gradient, and what clipping takes off; how far the weights move."""
    free, clipped = rows
    norms, limit = clipped["norms"], clipped["clip"]
    over = {step: norm for step, norm in enumerate(norms, 1) if norm > limit}
    label = "taken off by clipping"
    axes.vlines([*over], limit, [*over.values()], color=ORANGE, linewidth=1.4, label=label)
    axes.plot(range(1, len(norms) + 1), norms, "o", markersize=4, color=BLUE, label="gradient")
    axes.axhline(limit, color="0.1", linewidth=1.4, label=f"limit {limit:g}")
    first, last = max(free["distances"]), max(clipped["distances"])
    text = f"weights moved in all:\nclipped {last:,.1f}, without clipping {first:,.0f}"
    axes.text(0.98, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=9)
    axes.set(yscale="log", xlabel="training step", ylabel="norm of the whole gradient")
    axes.set_ylim(min(norms) / 3, max(norms) * 50)
    title = "SimpleRNN, orthogonal x 1.5, trained by SGD:\nclipping takes the orange off"
    axes.set_title(title, fontsize=11)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    plain(axes)
