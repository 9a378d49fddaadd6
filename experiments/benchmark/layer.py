"""Times one recurrent layer in every library, after comparing the results.

In the same rounds the product of one step is timed, as fast as the machine can do it.
"""

import itertools
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
    Worker,
    WorkerError,
    chosen,
    installed,
    interleaved,
    ours,
    workers,
)
from experiments.config.cli import UserError

PAUSE = 0.01  # seconds; libgomp's threads spin for some milliseconds after their last work
Say = Callable[[str], None]
Record = dict[str, Any]
Workers = Sequence[Worker]


def command(settings: Any, threads: int, say: Say) -> Record:
    """`benchmark layer`: the machine's limits, each problem's figures, and the means over them."""
    sizes = tuple(problems.grid()) if settings.grid else settings.sizes
    sizes += problems.ODD if settings.odd else ()
    todo = problems.problems(sizes, settings.cells)
    libraries = [*map(ours, engines(settings.engines)), *chosen(settings.peers, say)]
    limits = [library for library in LIMITS if installed(library)]
    turns = settings.repetitions
    with (
        tempfile.TemporaryDirectory(prefix="jaxrnn-benchmark-") as name,
        workers([*libraries, REFERENCE, *limits], threads, Path(name)) as alive,
    ):
        started = start(alive, say)
        reference = next(worker for worker in alive if worker.library is REFERENCE)
        if REFERENCE.name not in started:
            raise UserError("the reference, a scan in float64, does not start; is jax installed?")
        ready = [worker for worker in alive if worker.library.name in started]
        machine = [worker for worker in ready if worker.library in limits]
        measured = [worker for worker in ready if worker.library in libraries]
        say("the machine's own limits")
        rates = machine_limits(machine, settings.square, settings.copied * 2**18, turns)
        rows = []
        for problem in todo:
            say(f"{problem.name} {problem.cell} {problem.sizes}")
            row = one_problem(problem, measured, machine, reference, turns, say)
            rows.append(row)
        add_floors(todo, rows, rates)
    about = [{"name": w.library.name, "family": w.library.family} for w in measured]
    return {
        "libraries": [one | started[one["name"]] for one in about],
        "limits": rates,
        "problems": rows,
        "means": means(rows, libraries),
        "disagreeing": disagreeing(rows),
    }


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


def start(alive: Workers, say: Say) -> dict[str, Record]:
    """The greetings of the processes that could start, by name; a line for each other one."""
    for worker in alive:
        if worker.greeting is None:
            say(f"{worker.library.name} does not start and is left out: {worker.failure}")
    return {w.library.name: w.greeting for w in alive if w.greeting is not None}


def pause() -> None:
    """Let the threads of the turn before fall asleep."""
    time.sleep(PAUSE)


def machine_limits(machine: Workers, square: int, copied: int, turns: int) -> dict[str, Record]:
    """Rates a second: of a square product, of copying `copied` floats, of tanh over a million.

    Of each the best library's, and all libraries'.
    """
    tanh = min(copied, 2**20)
    product = ("product", "product", square, square, square)
    work = [product, ("copy", "copy", copied), ("tanh", "tanh", tanh)]
    # A copy reads and writes.
    amounts = {"product": 2 * square**3, "copy": 8 * copied, "tanh": tanh}
    loaded = {}
    for worker in machine:
        answer, _ = worker.load({"work": work}, {})
        loaded[worker.library.option] = (worker, answer["calls"])
    seconds = interleaved(loaded, turns, pause)
    return {name: fastest(name, amount, seconds) for name, amount in amounts.items()}


def fastest(name: str, amount: int, seconds: Mapping[str, Any]) -> Record:
    """A call's rate by library, and the highest."""
    each = {library: amount / summary(calls[name])["median"] for library, calls in seconds.items()}
    library = max(each, key=lambda library: each[library])
    return {"rate": each[library], "library": library, "rates": each}


def one_problem(
    problem: Problem, measured: Workers, machine: Workers, reference: Worker, turns: int, say: Say
) -> Record:
    """Compare all libraries with float64, then time those that agree with it."""
    params, data = problems.draw(problem)
    expected = results(problem, reference, params, data, warm=False)[1]
    loaded: dict[str, tuple[Worker, dict[str, int]]] = {}
    entries: dict[str, Record] = {}
    for worker in measured:
        name = worker.library.name
        try:
            answer, quantities = results(problem, worker, params, data)
        except WorkerError as mistake:
            entries[name] = {"error": str(mistake)}
            say(f"  {name} is left out: {mistake}")
            continue
        far = problems.deviations(quantities, expected)
        agrees = problems.agrees(far)
        entries[name] = {"deviation": far, "agrees": agrees, "first": answer["first"]}
        if agrees:
            loaded[name] = (worker, answer["calls"])
        else:
            shares = ", ".join(f"{k} {v:.1e}" for k, v in far.items())
            say(f"  {name} computes something else and is not timed: {shares}")
    for worker in machine:
        answer, _ = worker.load({"work": [("product", "product", *problem.product)]}, {})
        loaded[worker.library.name] = (worker, answer["calls"])
    seconds = interleaved(loaded, turns, pause)
    ideal = {worker.library.option: seconds.pop(worker.library.name) for worker in machine}
    rows, units, columns = problem.product
    sgemm = fastest("product", 2 * rows * units * columns, ideal)
    for name, calls in seconds.items():
        for call in CALLS:
            entries[name][call] = summary(calls[call])
    return {
        "name": problem.name,
        "cell": problem.cell,
        "sizes": list(problem.sizes),
        "sgemm": sgemm | {"shape": list(problem.product)},
        "flops": {call: problem.flops(call) for call in CALLS},
        "results": entries,
        "ratios": ratios(entries, [worker.library for worker in measured]),
    }


def results(
    problem: Problem, worker: Worker, params: Any, data: Mapping[str, Any], warm: bool = True
) -> tuple[Any, dict[str, np.ndarray]]:
    """Load a problem into a library; its answer, and its results under our names."""
    layout, cell = worker.library.layout, problem.cell
    weights = {f"w:{k}": a for k, a in weights_for(layout, cell, params).items()}
    answer, arrays = worker.load(problem._asdict(), {**weights, **data}, warm)
    named = {k[7:]: a for k, a in arrays.items() if k.startswith("both/d:")}
    quantities = {"dxs": arrays["both/dxs"], **gradient_from(layout, cell, named)}
    # Two programs compute the outputs; the one that is further off counts.
    outputs = (arrays["forward/hs"], arrays["both/hs"])
    if warm and np.max(np.abs(outputs[0] - outputs[1]), initial=0) > problems.TOLERANCE:
        raise WorkerError("forward alone gives other outputs than forward with backward")
    return answer, {"hs": outputs[0], **quantities}


def add_floors(todo: Sequence[Problem], rows: Sequence[Record], limits: dict[str, Record]) -> None:
    """Add the best product's rate to the limits, and to the rows their floors and shares of it."""
    products = [limits["product"], *(row["sgemm"] for row in rows)]
    limits["best product"] = max(products, key=lambda product: product["rate"])
    for problem, row in zip(todo, rows, strict=True):
        row["floor"] = {call: floor(problem, call, limits) for call in CALLS}
        for call, entry in itertools.product(CALLS, row["results"].values()):
            if call in entry:
                entry[call]["floor_fraction"] = row["floor"][call] / entry[call]["median"]


def floor(problem: Problem, call: str, limits: Mapping[str, Record]) -> float:
    """Seconds below which the machine's rates allow nothing: arithmetic, or moving the data.

    The products at the best rate that any library had at any shape of the run, the sigmoids and
    hyperbolic tangents at their measured rate.
    """
    arithmetic = problem.flops(call) / limits["best product"]["rate"]
    arithmetic += problem.activations() / limits["tanh"]["rate"]
    return float(max(arithmetic, problem.bytes(call) / limits["copy"]["rate"]))
