"""Keeps one library alive in a process of its own: a line of JSON each for request and answer.

Arrays come and go as npz files. Started by `experiments.benchmark.workers`; what the library
prints goes to the worker's log.
"""

import importlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

# A turn takes at least so long, in seconds: the clock and a late wake-up weigh little then.
TURN = 0.02
MOST_CALLS = 2000


def main(module: str, option: str, imports: str, threads: int) -> None:
    """Import, answer with how long that took, then serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    restrict(threads)
    seconds = {}
    for name in imports.split(","):
        begun = time.perf_counter()
        importlib.import_module(name)
        seconds[name] = time.perf_counter() - begun
    peer = importlib.import_module(f"experiments.benchmark.peers.{module}")
    denormals = peer.prepare(threads)
    answer = {"import_seconds": seconds, "denormals_flushed": denormals}
    print(json.dumps(answer), file=answers)
    calls: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                calls.clear()
                answer = load(peer, option, request, calls)
            else:
                answer = {"seconds": turn(calls[request["call"]], request["calls"])}
        except Exception as mistake:  # whatever a library raises becomes one line at the other end
            words = " ".join(str(mistake).split())
            answer = {"error": f"{type(mistake).__name__}: {words}"[:300]}
        print(json.dumps(answer), file=answers)


def restrict(threads: int) -> None:
    """Only so many cores for this process: XLA and OpenMP count those that they may use."""
    if hasattr(os, "sched_setaffinity"):  # not on macOS and Windows
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def load(peer: Any, option: str, request: Any, calls: dict[str, Any]) -> dict[str, Any]:
    """Build the calls, run each for the first time, keep what it returned, and warm it up."""
    import numpy as np

    with np.load(request["arrays"]) as file:
        arrays = dict(file)
    calls.update(peer.build(option, request["problem"], arrays))
    first: dict[str, float] = {}
    turns: dict[str, int] = {}
    results: dict[str, Any] = {}
    for name, call in calls.items():
        begun = time.perf_counter()
        arrays_out = call()
        first[name] = time.perf_counter() - begun
        results |= {f"{name}/{key}": np.asarray(array) for key, array in arrays_out.items()}
        if not request["warm"]:
            continue
        call()
        warm = turn(call, 1)
        turns[name] = min(MOST_CALLS, max(1, math.ceil(TURN / max(warm, 1e-7))))
    path = Path(request["results"])
    np.savez(path, **results)
    return {"first": first, "calls": turns}


def turn(call: Any, calls: int) -> float:
    """Mean seconds of so many calls, after one that is not counted: others had the caches."""
    call()
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
