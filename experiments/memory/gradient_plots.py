"""The picture of `experiments.memory gradients`, from its rows alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.memory.plots import CELLS, figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

# From warm (exploding) to cool (vanishing), dark in the middle; dashes tell them apart in grey.
LADDER: Sequence[dict[str, Any]] = (
    {"color": "#B3400E", "linestyle": "-"},
    {"color": "#E69F00", "linestyle": "--"},
    {"color": "0.1", "linestyle": "-"},
    {"color": "#0072B2", "linestyle": "-."},
    {"color": "#56B4E9", "linestyle": ":"},
)
SMALLEST, LARGEST = 1e-10, 1e10


def draw(rows: Rows, *, dataset: str) -> "Figure":
    """Four panels: the cells, the forget bias, the recurrent matrix, clipping."""
    name = "IMDB reviews" if dataset == "imdb" else f"dataset: {dataset}"
    made = figure(11, 8.6, f"Where does the gradient go? {name}, read out at the last word")
    (cells, forget), (matrix, clipping) = made.subplots(2, 2)
    _cells(cells, [row for row in rows if row["study"] == "cells"])
    of = [row for row in rows if row["study"] == "forget"]
    _ladder(forget, of, "LSTM, untrained: a larger forget bias\nkeeps more of the gradient", 1)
    of = [row for row in rows if row["study"] == "matrix"]
    _ladder(matrix, of, "SimpleRNN, untrained: the recurrent matrix\nmakes it explode or vanish", 0)
    for axes in (cells, forget, matrix):
        axes.set_yscale("log")
        axes.set_ylim(SMALLEST, LARGEST if axes is matrix else 1e6 if axes is cells else 1e2)
        axes.set_xlabel("words before the end")
        axes.set_ylabel("‖d loss / d h‖, as a multiple\nof that at the last word")
        axes.set_xlim(0, len(of[0]["median"]) - 1)
        axes.invert_xaxis()
        axes.axhline(1, color="0.6", linewidth=1, zorder=1)
        plain(axes)
    _clipping(clipping, [row for row in rows if row["study"] == "clipping"])
    return made


def _cells(axes: "Axes", rows: Rows) -> None:
    """Untrained dashed, trained solid, the reviews' 10th to 90th percentile as a band."""
    for row in rows:
        style, trained = CELLS[row["cell"]], row["state"] == "trained"
        at = range(len(row["median"]))
        axes.plot(
            at, row["median"], color=style["color"], marker=style["marker"], markersize=6,
            markevery=(0.06 if trained else 0.1, 0.16), linestyle="-" if trained else ":",
            linewidth=2.2 if trained else 1.8,
            label=f"{row['label']} {row['state']} ({row['accuracy']:.0%})",
        )  # fmt: skip
        if trained:
            axes.fill_between(at, row["low"], row["high"], color=style["color"], alpha=0.12)
    axes.set_title("Each cell, before and after training\n(test accuracy)", fontsize=11)
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(0, len(labels), 2), *range(1, len(labels), 2)]  # untrained | trained
    axes.legend(
        [handles[n] for n in order], [labels[n] for n in order],
        loc="upper center", ncols=2, frameon=False, fontsize=9,
    )  # fmt: skip


def _ladder(axes: "Axes", rows: Rows, title: str, skip: int) -> None:
    for row, style in zip(rows, LADDER[skip:], strict=False):
        axes.plot(row["median"], linewidth=2.2, label=row["label"], **style)
    axes.set_title(title, fontsize=11)
    axes.legend(frameon=False, fontsize=9)


def _clipping(axes: "Axes", rows: Rows) -> None:
    """Each step's gradient, and what clipping takes off; what one step does without it."""
    free, clipped = rows
    norms, limit = clipped["norms"], clipped["clip"]
    at = range(1, len(norms) + 1)
    over = [(n, norm) for n, norm in zip(at, norms, strict=True) if norm > limit]
    axes.vlines(
        [n for n, _ in over], limit, [norm for _, norm in over], color="#E69F00", linewidth=1.4,
        label="taken off by clipping",
    )  # fmt: skip
    axes.plot(
        at, norms, linestyle="none", marker="o", markersize=4, color="#0072B2", label="gradient"
    )
    axes.axhline(limit, color="0.1", linewidth=1.4, label=f"limit {limit:g}")
    first, last = max(free["distances"]), max(clipped["distances"])
    axes.annotate(
        f"weights moved in all:\nclipped {last:,.1f}, without clipping {first:,.0f}", (0.98, 0.97),
        xycoords="axes fraction", ha="right", va="top", fontsize=9,
    )  # fmt: skip
    axes.set(yscale="log", xlabel="training step", ylabel="norm of the whole gradient")
    axes.set_ylim(min(norms) / 3, max(norms) * 50)
    axes.set_title("SimpleRNN, orthogonal x 1.5, trained by SGD:\nclipping takes the orange off")
    axes.title.set_fontsize(11)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    plain(axes)
