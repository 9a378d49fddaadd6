"""Medians, quartiles, ratios: what is made of the seconds."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.benchmark.workers import Library

CALLS = ("forward", "both")
FAMILIES = ("any", "jax", "tensorflow", "torch")
Found = dict[str, Any]


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles (linear between the values, as NumPy's), and the seconds themselves."""
    if len(seconds) == 1:
        low = middle = high = seconds[0]
    else:
        low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median": middle, "q1": low, "q3": high, "seconds": list(seconds)}


def noisy(found: Mapping[str, Any]) -> bool:
    """Whether half of the values lie further apart than a fifth of their median."""
    return bool(found["q3"] - found["q1"] > 0.2 * found["median"])


def best(medians: Mapping[str, float]) -> tuple[str, float] | None:
    """The fastest of these and its seconds; None of none."""
    return min(medians.items(), key=lambda pair: pair[1]) if medians else None


def geometric_mean(ratios: Iterable[float]) -> float | None:
    """The mean of ratios: twice and half as fast make one. None of none."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else None


def ratios(entries: Mapping[str, Found], libraries: Sequence[Library]) -> dict[str, Found]:
    """Best peer's median by ours: for each of our engines, each call and each family of peers."""
    found: dict[str, Found] = {}
    for mine in (library for library in libraries if library.family == "ours"):
        for call in CALLS if "forward" in entries.get(mine.name, {}) else ():
            seconds = entries[mine.name][call]["median"]
            for family in FAMILIES:
                peers = {
                    p.name: entries[p.name][call]["median"]
                    for p in libraries
                    if p.family != "ours"
                    and family in ("any", p.family)
                    and call in entries.get(p.name, {})
                }
                fast = best(peers)
                if fast is not None:
                    of = found.setdefault(mine.name, {}).setdefault(call, {})
                    of[family] = {"peer": fast[0], "ratio": fast[1] / seconds}
    return found


def means(measured: Sequence[Found], libraries: Sequence[Library]) -> dict[str, Found]:
    """Geometric means of the ratios over all problems and both calls, by engine and family."""
    found: dict[str, Found] = {}
    for mine in (library.name for library in libraries if library.family == "ours"):
        for family in FAMILIES:
            each = [
                of[family]["ratio"]
                for problem in measured
                for of in problem["ratios"].get(mine, {}).values()
                if family in of
            ]
            mean = geometric_mean(each)
            if mean is not None:
                found.setdefault(mine, {})[family] = {
                    "mean": mean, "least": min(each), "count": len(each),
                }  # fmt: skip
    return found


def disagreeing(measured: Sequence[Found]) -> list[str]:
    """Which library computed something else where."""
    return [
        f"{name} at {problem['name']} {problem['cell']}"
        for problem in measured
        for name, of in problem["results"].items()
        if not of.get("agrees", True)
    ]
