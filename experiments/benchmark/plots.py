"""The picture of a benchmark: how many times faster than each peer, drawn from its JSON alone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.benchmark.report import our_engines
from experiments.plots.style import NAMES, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["picture", "save"]

# Okabe and Ito's colours, dark and light in turn; in grey the markers' shapes and fillings differ.
STYLES = {
    "lax.scan": ("#000000", "o"), "flax": ("#E69F00", "s"), "keras-jax": ("#0072B2", "D"),
    "keras-tf": ("#56B4E9", "^"), "torch": ("#B3400E", "X"),
}  # fmt: skip
TITLES = {"forward": "forward", "both": "forward and backward"}


def picture(found: Mapping[str, Any]) -> "Figure":
    """A panel for each pass, a row for each layer, a mark for each peer."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    engine = next(iter(our_engines(found)), "")
    problems = found["problems"]
    figure = Figure(figsize=(11, 1.9 + 0.34 * len(problems)), dpi=150, layout="constrained")
    figure.suptitle(
        f"How many times faster than its peers is jaxrnn's engine {engine}? {found['machine']}",
        fontsize=12.5, fontweight="bold",
    )  # fmt: skip
    panels = figure.subplots(1, 2, sharey=True)
    marked: dict[str, Any] = {}
    low, high = 0.5, 2.0
    for axes, (call, title) in zip(panels, TITLES.items(), strict=True):
        for row, problem in enumerate(problems):
            ratios = by_peer(problem, engine, call)
            if ratios:
                low, high = min(low, *ratios.values()), max(high, *ratios.values())
                axes.hlines(row, min(ratios.values()), max(ratios.values()), color="0.8", zorder=1)
            for peer, ratio in ratios.items():
                colour, marker = STYLES[peer]
                (marked[peer],) = axes.plot(
                    [ratio], [row], marker, color=colour, markersize=8,
                    markeredgecolor="black", markeredgewidth=0.7, linestyle="none", zorder=2,
                )  # fmt: skip
        axes.axvline(1, color="0.25", linewidth=1.2, linestyle="--", zorder=0)
        axes.set_title(title, fontsize=12)
        axes.set_xlabel("peer's median time / ours (right of 1: ours is faster)", fontsize=11)
        axes.grid(axis="x", color="0.92", zorder=-1)
        axes.spines[["top", "right"]].set_visible(False)
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low / 2 <= t <= 2 * high]
    for axes in panels:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.12, high * 1.12)
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0].set_yticks(range(len(problems)), [_named(problem) for problem in problems])
    panels[0].set_ylim(len(problems) - 0.4, -0.6)
    if marked:
        figure.legend(
            [marked[peer] for peer in STYLES if peer in marked],
            [peer for peer in STYLES if peer in marked],
            loc="outside lower center", ncols=len(marked), frameon=False, fontsize=11,
        )  # fmt: skip
    return figure


def by_peer(problem: Mapping[str, Any], engine: str, call: str) -> dict[str, float]:
    """Each peer's median by the engine's; empty where one of them was not timed."""
    of = problem["results"]
    if call not in of.get(engine, {}):
        return {}
    ours = of[engine][call]["median"]
    return {name: of[name][call]["median"] / ours for name in STYLES if call in of.get(name, {})}


def _named(problem: Mapping[str, Any]) -> str:
    sizes = ", ".join(map(str, problem["sizes"]))
    return f"{problem['name']} {NAMES[problem['cell']]} ({sizes})"
