"""Draws how many times faster than each peer ours is, from the JSON of a benchmark alone."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from experiments.benchmark.report import our_engines
from experiments.plots import style
from experiments.plots.style import NAMES, save

__all__ = ["picture", "save"]

# Dark and light in turn; in grey the markers' shapes differ.
STYLES = {
    "lax.scan": (style.BLACK, "o"),
    "flax": (style.ORANGE, "s"),
    "keras-jax": (style.BLUE, "D"),
    "keras-tf": (style.SKY, "^"),
    "torch": (style.RUST, "X"),
}
EDGE: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.7, "linestyle": "none"}
TITLES = {"forward": "forward", "both": "forward and backward"}
TICKS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100)


def picture(report: Mapping[str, Any]) -> Figure:
    """A panel for each pass, a row for each layer, a mark for each peer."""
    engine, problems = next(iter(our_engines(report)), ""), report["problems"]
    title = f"How many times faster than its peers is jaxrnn's engine {engine}? {report['machine']}"
    figure = style.figure(11, 1.9 + 0.34 * len(problems), title, fontsize=12.5)
    panels = figure.subplots(1, 2, sharey=True)
    marked: dict[str, Any] = {}
    low, high = 0.5, 2.0
    for axes, (call, title) in zip(panels, TITLES.items(), strict=True):
        for row, problem in enumerate(problems):
            ratios = by_peer(problem, engine, call)
            if ratios:
                least, most = min(ratios.values()), max(ratios.values())
                low, high = min(low, least), max(high, most)
                axes.hlines(row, least, most, color="0.8", zorder=1)
            for peer, ratio in ratios.items():
                colour, marker = STYLES[peer]
                look = {"color": colour, "markersize": 8, "zorder": 2, **EDGE}
                (marked[peer],) = axes.plot([ratio], [row], marker, **look)
        axes.axvline(1, color="0.25", linewidth=1.2, linestyle="--", zorder=0)
        axes.set_title(title, fontsize=12)
        axes.set_xlabel("peer's median time / ours (right of 1: ours is faster)", fontsize=11)
        style.plain(axes, "x")
    for axes in panels:
        axes.set(xscale="log", xlim=(low / 1.12, high * 1.12))
        axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low / 2 <= t <= 2 * high]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    names = [
        f"{problem['name']} {NAMES[problem['cell']]} ({', '.join(map(str, problem['sizes']))})"
        for problem in problems
    ]
    panels[0].set_yticks(range(len(problems)), names)
    panels[0].set_ylim(len(problems) - 0.4, -0.6)
    if marked:
        peers = [peer for peer in STYLES if peer in marked]
        place: Any = {"loc": "outside lower center", "frameon": False, "fontsize": 11}
        figure.legend([marked[peer] for peer in peers], peers, ncols=len(peers), **place)
    return figure


def by_peer(problem: Mapping[str, Any], engine: str, call: str) -> dict[str, float]:
    """Each peer's median by the engine's; empty where one of them was not timed."""
    results = problem["results"]
    if call not in results.get(engine, {}):
        return {}
    ours, timed = results[engine][call]["median"], results
    peers = [name for name in STYLES if call in timed.get(name, {})]
    return {name: timed[name][call]["median"] / ours for name in peers}
