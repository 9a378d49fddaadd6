"""One recurrent layer in every library: compared first, then timed in turns.

Beside them, in the same rounds, the product of one step as fast as the machine can do it.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jaxrnn
from experiments.benchmark import problems
from experiments.benchmark.peers.layouts import gradient_from, weights_for
from experiments.benchmark.problems import Problem
from experiments.benchmark.statistics import CALLS, disagreeing, means, ratios, summary
from experiments.benchmark.workers import (
    LIMITS,
    REFERENCE,
    Library,
    Worker,
    WorkerError,
    chosen,
    installed,
    interleaved,
    ours,
    workers,
)
from experiments.config.cli import UserError

PAUSE = 0.01  # seconds; libgomp's threads spin for some milliseconds behind their last work
Say = Callable[[str], None]
Found = dict[str, Any]


def command(settings: Any, threads: int, say: Say) -> Found:
    """`benchmark layer`: check what was asked for, then measure it."""
    sizes = settings.sizes + (problems.ODD if settings.odd else ())
    todo = problems.problems(sizes, settings.cells)
    libraries = [*map(ours, engines(settings.engines)), *chosen(settings.peers, say)]
    return measure(
        todo, libraries, threads=threads, repetitions=settings.repetitions,
        square=settings.square, copied=settings.copied * 2**18, say=say,
    )  # fmt: skip


def engines(names: Sequence[str]) -> list[str]:
    """These names, checked against `jaxrnn.engines`; all that can run here when none is given.

    The first one is what the picture is about; the reference comes last.
    """
    known = sorted(jaxrnn.engines.available())
    for name in names:
        if name not in (*known, "default"):
            raise UserError(
                f"--engines holds {name!r}; jaxrnn.engines has {', '.join(known)} (or give default)"
            )
    here = [name for name, why_not in jaxrnn.engines.available().items() if not why_not]
    order = ("native", "cudnn", "fused", "scan")
    return list(dict.fromkeys(names)) or sorted(here, key=order.index)


def measure(
    todo: Sequence[Problem], libraries: Sequence[Library], *, threads: int, repetitions: int,
    square: int, copied: int, say: Say,
) -> Found:  # fmt: skip
    """Everything: the machine's limits, each problem's figures, and the means over them."""
    limits = [library for library in LIMITS if installed(library)]
    with (
        tempfile.TemporaryDirectory(prefix="jaxrnn-benchmark-") as name,
        workers([*libraries, REFERENCE, *limits], threads, Path(name)) as alive,
    ):
        started = start(alive, say)
        reference = next(w for w in alive if w.library is REFERENCE)
        if REFERENCE.name not in started:
            raise UserError("the reference, a scan in float64, does not start; is jax installed?")
        machine = [w for w in alive if w.library in limits and w.library.name in started]
        measured = [w for w in alive if w.library in libraries and w.library.name in started]
        say("the machine's own limits")
        found: Found = {
            "libraries": [
                {"name": w.library.name, "family": w.library.family} | started[w.library.name]
                for w in measured
            ],
            "limits": machine_limits(machine, square, copied, repetitions),
            "problems": [],
        }
        for problem in todo:
            say(f"{problem.name} {problem.cell} {problem.sizes}")
            found["problems"].append(
                one_problem(
                    problem, measured, machine, reference, repetitions, found["limits"], say
                )
            )
    found["means"] = means(found["problems"], libraries)
    found["disagreeing"] = disagreeing(found["problems"])
    return found


def start(alive: Sequence[Worker], say: Say) -> dict[str, Found]:
    """What the processes said of their imports, by name, of those that could start."""
    for worker in alive:
        if worker.greeting is None:
            say(f"{worker.library.name} does not start and is left out: {worker.failure}")
    return {w.library.name: w.greeting for w in alive if w.greeting is not None}


def pause() -> None:
    """Let the threads of the turn before fall asleep."""
    time.sleep(PAUSE)


def machine_limits(
    machine: Sequence[Worker], square: int, copied: int, repetitions: int
) -> dict[str, Found]:
    """Rates a second: of a square product, of copying `copied` floats, of tanh over a million."""
    tanh = min(copied, 2**20)
    work = [
        ("product", "product", square, square, square), ("copy", "copy", copied),
        ("tanh", "tanh", tanh),
    ]  # fmt: skip
    # A copy reads and writes.
    amounts = {"product": 2 * square**3, "copy": 8 * copied, "tanh": tanh}
    return rates(machine, work, amounts, repetitions)


def rates(
    machine: Sequence[Worker], work: Sequence[Any], amounts: Mapping[str, int], repetitions: int
) -> dict[str, Found]:
    """The best library's rate for each entry of `work`, and all libraries' rates."""
    loaded = {}
    for worker in machine:
        answer, _ = worker.load({"work": list(work)}, {})
        loaded[worker.library.option] = (worker, answer["calls"])
    seconds = interleaved(loaded, repetitions, pause)
    return {name: fastest(name, amount, seconds) for name, amount in amounts.items()}


def fastest(name: str, amount: int, seconds: Mapping[str, Any]) -> Found:
    """A call's rate by library, and the highest."""
    each = {library: amount / summary(of[name])["median"] for library, of in seconds.items()}
    library = max(each, key=lambda library: each[library])
    return {"rate": each[library], "library": library, "rates": each}


def one_problem(
    problem: Problem, measured: Sequence[Worker], machine: Sequence[Worker], reference: Worker,
    repetitions: int, limits: Mapping[str, Found], say: Say,
) -> Found:  # fmt: skip
    """Compare all libraries with float64, then time those that agree with it."""
    params, data = problems.draw(problem)
    expected = results(problem, reference, params, data, warm=False)[1]
    loaded: dict[str, tuple[Worker, dict[str, int]]] = {}
    entries: dict[str, Found] = {}
    for worker in measured:
        name = worker.library.name
        try:
            answer, quantities = results(problem, worker, params, data)
        except WorkerError as mistake:
            entries[name] = {"error": str(mistake)}
            say(f"  {name} is left out: {mistake}")
            continue
        far = problems.deviations(quantities, expected)
        entries[name] = {
            "deviation": far, "agrees": problems.agrees(far), "first": answer["first"],
        }  # fmt: skip
        if entries[name]["agrees"]:
            loaded[name] = (worker, answer["calls"])
        else:
            shares = ", ".join(f"{k} {v:.1e}" for k, v in far.items())
            say(f"  {name} computes something else and is not timed: {shares}")
    for worker in machine:
        answer, _ = worker.load({"work": [("product", "product", *problem.product)]}, {})
        loaded[worker.library.name] = (worker, answer["calls"])
    seconds = interleaved(loaded, repetitions, pause)
    ideal = {w.library.option: seconds.pop(w.library.name) for w in machine}
    rows, units, columns = problem.product
    sgemm = fastest("product", 2 * rows * units * columns, ideal)
    for name, of in seconds.items():
        for call in CALLS:
            figures = summary(of[call])
            rate = problem.flops(call) / figures["median"]
            entries[name][call] = figures | {"sgemm_fraction": rate / sgemm["rate"]}
    return {
        "name": problem.name,
        "cell": problem.cell,
        "sizes": list(problem.sizes),
        "sgemm": sgemm | {"shape": list(problem.product)},
        "flops": {call: problem.flops(call) for call in CALLS},
        "floor": {call: floor(problem, call, limits) for call in CALLS},
        "results": entries,
        "ratios": ratios(entries, [worker.library for worker in measured]),
    }


def results(
    problem: Problem, worker: Worker, params: Any, data: Mapping[str, Any], warm: bool = True
) -> tuple[Any, dict[str, np.ndarray]]:
    """Load a problem into a library; its answer, and its results under our names."""
    layout, cell = worker.library.layout, problem.cell
    weights = {f"w:{k}": a for k, a in weights_for(layout, cell, params).items()}
    answer, found = worker.load(problems.as_json(problem), {**weights, **data}, warm)
    named = {k[7:]: a for k, a in found.items() if k.startswith("both/d:")}
    quantities = {"dxs": found["both/dxs"], **gradient_from(layout, cell, named)}
    # Two programs compute the outputs; the one that is further off counts.
    outputs = (found["forward/hs"], found["both/hs"])
    if warm and np.max(np.abs(outputs[0] - outputs[1]), initial=0) > problems.TOLERANCE:
        raise WorkerError("forward alone gives other outputs than forward with backward")
    return answer, {"hs": outputs[0], **quantities}


def floor(problem: Problem, call: str, limits: Mapping[str, Found]) -> float:
    """Seconds below which the machine's rates allow nothing: arithmetic, or moving the data."""
    arithmetic = problem.flops(call) / limits["product"]["rate"]
    arithmetic += problem.activations() / limits["tanh"]["rate"]
    return float(max(arithmetic, problem.bytes(call) / limits["copy"]["rate"]))
