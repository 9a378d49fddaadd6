"""Draws the pictures of `experiments.memory` from its rows alone. Knows neither jax nor a model."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from experiments.plots.style import NAMES, NAVY, RUST, SKY, figure, plain

Rows = Sequence[Mapping[str, Any]]
# Colours of clearly different lightness, and a dash and a marker for each.
CELLS: Mapping[str, dict[str, Any]] = {
    "rnn": {"color": RUST, "linestyle": ":", "marker": "s"},
    "lstm": {"color": NAVY, "linestyle": "-", "marker": "o"},
    "gru": {"color": SKY, "linestyle": "--", "marker": "^"},
}
NETWORKS: Sequence[dict[str, Any]] = (
    {"linestyle": "--", "marker": "o", "color": SKY},
    {"linestyle": "-", "marker": "s", "color": RUST},
)
# Title, what is measured, and what a network without memory comes to.
TASKS = {
    "adding": ("adding problem", "mean squared error", "always 1, the mean"),
    "copy": ("copy task", "wrong answers (share)", "guessing"),
}


def by(rows: Rows, key: str) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each value of `key`, in the order of the first ones."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def sequence(rows: Rows) -> Figure:
    """The answer of each network after each pair, beside the truth."""
    networks = by(rows, "network")
    pairs = next(iter(networks.values()))
    errors = [
        f"{name} {max(abs(row['prediction'] - row['truth']) for row in answers):.2f}"
        for name, answers in networks.items()
    ]
    title = "Next number of 1 3 5 2 4 9 7 6 8 · largest error: "
    made = figure(10, 4.6, title + ", ".join(errors))
    axes, at = made.subplots(), range(len(pairs))
    dash: dict[str, Any] = {"linestyle": "none", "marker": "_", "markersize": 46, "color": "0.1"}
    truth = [row["truth"] for row in pairs]
    axes.plot(at, truth, label="truth", markeredgewidth=3, zorder=3, **dash)
    for (name, answers), style in zip(networks.items(), NETWORKS, strict=True):
        values = [row["prediction"] for row in answers]
        axes.plot(at, values, label=name, linewidth=1.5, markersize=8, zorder=4, **style)
    axes.set_xticks(at, ["{}, {}".format(*row["pair"]) for row in pairs])
    axes.set(xlabel="the two numbers before", ylabel="next number", ylim=(0, 10))
    plain(axes)
    axes.legend(loc="upper left", frameon=False, ncols=3, markerscale=0.45)
    return made


def span(rows: Rows) -> Figure:
    """Error against length: a panel for each task, a line for each cell."""
    tasks = by(rows, "task")
    made = figure(5.4 * len(tasks) + 0.4, 4.6, "How long is the memory? Error against the lag")
    panels = made.subplots(1, len(tasks), squeeze=False)[0]
    for axes, (task, measured) in zip(panels, tasks.items(), strict=True):
        (name, quantity, naive), baseline = TASKS[task], measured[0]["baseline"]
        axes.axhline(baseline, color="0.45", linewidth=1.2, zorder=1)
        # At the left, where every cell is far below it.
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "left"}
        place["textcoords"] = "offset points"
        axes.annotate(naive, (0, baseline), (4, 4), color="0.3", **place)
        for cell, line in by(measured, "cell").items():
            lengths = [row["length"] for row in line]
            # A share of 0 has no place on a logarithmic axis: it is drawn at its lower end.
            errors = [max(row["error"], 1e-3) for row in line]
            axes.plot(lengths, errors, label=NAMES[cell], linewidth=2, markersize=8, **CELLS[cell])
        axes.set(xscale="log", yscale="log", xlabel="lag (steps)", ylabel=quantity)
        axes.set_xticks(sorted({row["length"] for row in measured}))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(7e-4, 1.6)
        axes.set_title(f"{name}\n{result(measured)}", fontsize=11)
        plain(axes)
        axes.legend(loc="best", frameon=False)
    return made


def result(rows: Rows) -> str:
    """The longest lag that each cell has solved."""
    parts = []
    for cell, line in by(rows, "cell").items():
        solved = [row["length"] for row in line if row["solved"]]
        parts.append(f"{NAMES[cell]} {max(solved, default='none')}")
    return "longest lag solved: " + ", ".join(parts)
