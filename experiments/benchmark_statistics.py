"""Medians, quartiles, ratios: what is made of the seconds."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


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
