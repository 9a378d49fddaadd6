"""Calls each library as its users do, for the benchmark, each in a process of its own.

A module here has two functions. `prepare(threads)` limits the library's threads, switches denormal
numbers off where there is a switch, and says whether they are: True, False, or None where that was
not found out. `build(option, problem, arrays)` gives the calls to be timed, by name; each returns
only when its arrays are there.
"""

from collections.abc import Callable
from typing import Any

# NumPy arrays; nothing is imported here, so that a worker times every import.
Arrays = dict[str, Any]
Problem = dict[str, Any]
Calls = dict[str, Callable[[], dict[str, Any]]]


def weights(arrays: Arrays) -> Arrays:
    """The weights among the arrays of a problem, by the library's own names."""
    return {name[2:]: array for name, array in arrays.items() if name.startswith("w:")}
