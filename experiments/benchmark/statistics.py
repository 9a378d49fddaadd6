"""Makes medians, quartiles and ratios of the seconds."""

from collections.abc import Mapping, Sequence
from statistics import geometric_mean
from typing import Any

import numpy as np

from experiments.benchmark.workers import Library

CALLS = ("forward", "both")
FAMILIES = ("any", "jax", "tensorflow", "torch")
Record = dict[str, Any]


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles, linear between the values, and the seconds themselves."""
    low, middle, high = np.percentile(seconds, (25, 50, 75)).tolist()
    return {"median": middle, "q1": low, "q3": high, "seconds": list(seconds)}


def noisy(figures: Mapping[str, Any]) -> bool:
    """Whether half of the values lie further apart than a fifth of their median."""
    return bool(figures["q3"] - figures["q1"] > 0.2 * figures["median"])


def ratios(entries: Mapping[str, Record], libraries: Sequence[Library]) -> dict[str, Record]:
    """Best peer's median by ours: for each of our engines, each call and each family of peers."""
    table: dict[str, Record] = {}
    peers = [library for library in libraries if library.family != "ours"]
    for name in (library.name for library in libraries if library.family == "ours"):
        for call in CALLS if "forward" in entries.get(name, {}) else ():
            timed = [peer for peer in peers if call in entries.get(peer.name, {})]
            for family in FAMILIES:
                rivals = [peer.name for peer in timed if family in ("any", peer.family)]
                medians = {rival: entries[rival][call]["median"] for rival in rivals}
                if medians:
                    fastest = min(rivals, key=medians.__getitem__)
                    ratio = medians[fastest] / entries[name][call]["median"]
                    calls = table.setdefault(name, {}).setdefault(call, {})
                    calls[family] = {"peer": fastest, "ratio": ratio}
    return table


def means(measured: Sequence[Record], libraries: Sequence[Library]) -> dict[str, Record]:
    """Geometric means of the ratios over all problems and both calls, by engine and family."""
    table: dict[str, Record] = {}
    for name in (library.name for library in libraries if library.family == "ours"):
        calls = [call for one in measured for call in one["ratios"].get(name, {}).values()]
        for family in FAMILIES:
            each = [call[family]["ratio"] for call in calls if family in call]
            if each:
                numbers = {"mean": geometric_mean(each), "least": min(each), "count": len(each)}
                table.setdefault(name, {})[family] = numbers
    return table


def disagreeing(measured: Sequence[Record]) -> list[str]:
    """Which library computed something else where."""
    return [
        f"{name} at {problem['name']} {problem['cell']}"
        for problem in measured
        for name, entry in problem["results"].items()
        if not entry.get("agrees", True)
    ]
