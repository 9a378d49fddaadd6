"""The pictures of `experiments.memory`, from its rows alone. Knows neither jax nor a model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.plots.style import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, of clearly different lightness, and a dash and a marker for each.
CELLS: Mapping[str, dict[str, Any]] = {
    "rnn": {"color": "#B3400E", "linestyle": ":", "marker": "s"},
    "lstm": {"color": "#0A3F66", "linestyle": "-", "marker": "o"},
    "gru": {"color": "#56B4E9", "linestyle": "--", "marker": "^"},
}
PALE, DARK = "#9ACBEA", "#B3400E"


def figure(width: float, height: float, title: str) -> "Figure":
    """An empty figure, in inches, under its title."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=150, layout="constrained")
    made.suptitle(title, fontsize=13, fontweight="bold")
    return made


def plain(axes: "Axes") -> None:
    """A light grid behind, and no box around."""
    axes.grid(color="0.92", zorder=-1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def sequence(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """What each network says after each pair, beside the truth."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    of = {name: [row for row in rows if row["network"] == name] for name in networks}
    pairs = [row["pair"] for row in of[networks[0]]]
    worst = {
        name: max(abs(row["prediction"] - row["truth"]) for row in found)
        for name, found in of.items()
    }
    title = "Next number of 1 3 5 2 4 9 7 6 8 · largest error: " + ", ".join(
        f"{name} {error:.2f}" for name, error in worst.items()
    )
    made = figure(10, 4.6, title)
    axes = made.subplots()
    at = range(len(pairs))
    axes.plot(
        at, [row["truth"] for row in of[networks[0]]], linestyle="none", marker="_", markersize=46,
        markeredgewidth=3, color="0.1", label="truth", zorder=3,
    )  # fmt: skip
    styles: list[dict[str, Any]] = [
        {"linestyle": "--", "marker": "o", "color": "#56B4E9"},
        {"linestyle": "-", "marker": "s", "color": DARK},
    ]
    for name, style in zip(networks, styles, strict=True):
        said = [row["prediction"] for row in of[name]]
        axes.plot(at, said, label=name, linewidth=1.5, markersize=8, zorder=4, **style)
    axes.set_xticks(at, [f"{a}, {b}" for a, b in pairs])
    axes.set_xlabel("the two numbers before")
    axes.set_ylabel("next number")
    axes.set_ylim(0, 10)
    plain(axes)
    axes.legend(loc="upper left", frameon=False, ncols=3, markerscale=0.45)
    return made


SPANS = {
    "adding": ("adding problem", "mean squared error", "always 1, the mean"),
    "copy": ("copy task", "wrong answers (share)", "guessing"),
}


def span(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Error against length: a panel for each task, a line for each cell."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    made = figure(5.4 * len(tasks) + 0.4, 4.6, "How long is the memory? Error against the lag")
    for axes, task in zip(made.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        of = [row for row in rows if row["task"] == task]
        name, quantity, naive = SPANS[task]
        axes.axhline(of[0]["baseline"], color="0.45", linewidth=1.2, zorder=1)
        axes.annotate(
            # At the left, where every cell is far below it.
            naive, (0, of[0]["baseline"]), (4, 4), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="left", color="0.3",
        )  # fmt: skip
        for cell in dict.fromkeys(row["cell"] for row in of):
            line = [row for row in of if row["cell"] == cell]
            # A share of 0 has no place on a logarithmic axis: it is drawn at its lower end.
            axes.plot(
                [row["length"] for row in line], [max(row["error"], 1e-3) for row in line],
                label=NAMES[cell], linewidth=2, markersize=8, **CELLS[cell],
            )  # fmt: skip
        lengths = sorted({row["length"] for row in of})
        axes.set(xscale="log", yscale="log", xlabel="lag (steps)", ylabel=quantity)
        axes.set_xticks(lengths)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(7e-4, 1.6)
        axes.set_title(f"{name}\n{result(of)}", fontsize=11)
        plain(axes)
        axes.legend(loc="best", frameon=False)
    return made


def result(rows: Sequence[Mapping[str, Any]]) -> str:
    """The longest lag that each cell has solved."""
    longest = {
        cell: max((r["length"] for r in rows if r["cell"] == cell and r["solved"]), default=None)
        for cell in dict.fromkeys(row["cell"] for row in rows)
    }
    parts = [f"{NAMES[cell]} {length or 'none'}" for cell, length in longest.items()]
    return "longest lag solved: " + ", ".join(parts)
