"""Lists the libraries that are measured, and keeps each in its process.

A process is one library's own and stays alive: libraries in one process fight for threads and
switch each other's floating-point flags.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.config.cli import UserError

ROOT = Path(__file__).parents[2]
# These would make the libraries' conditions differ, or hide what compiling costs.
DROPPED = ("XLA_FLAGS", "JAX_ENABLE_X64", "JAX_COMPILATION_CACHE_DIR", "JAX_DISABLE_JIT")


class Library(NamedTuple):
    """A library to be measured.

    Attributes:
        name: as in tables.
        module: in `experiments.benchmark.peers`, without the ending that says what is measured.
        option: what that module's `build` gets.
        layout: of its weights, see `layouts`.
        imports: what is imported first, in this order, each import timed.
        install: how to get it.
        family: "ours", "jax" or the library's name: geometric means are over families.
    """

    name: str
    module: str
    option: str
    layout: str
    imports: tuple[str, ...]
    install: str
    family: str


_KERAS_TF = ("tensorflow", "keras"), "pip install keras tensorflow-cpu"
PEERS = (
    Library("lax.scan", "scan", "", "jaxrnn", ("jax",), "pip install jax", "jax"),
    Library("flax", "flax", "", "flax", ("jax", "flax.nnx"), "pip install flax", "jax"),
    Library("keras-jax", "keras", "jax", "keras", ("jax", "keras"), "pip install keras", "jax"),
    Library("keras-tf", "keras", "tensorflow", "keras", *_KERAS_TF, "tensorflow"),
    Library("torch", "torch", "", "torch", ("torch",), "pip install torch", "torch"),
)
# In float64: what all results are compared with. Never timed.
REFERENCE = Library("float64", "scan", "", "jaxrnn", ("jax",), "", "reference")
# The machine's own limits, as these reach them.
LIMITS = tuple(
    Library(f"limits-{name}", "limits", name, "", (name,), f"pip install {name}", "limits")
    for name in ("numpy", "jax", "torch")
)


def ours(engine: str) -> Library:
    """An engine of `jaxrnn.engines` as a library; `default` is what `unroll` takes by itself."""
    return Library(engine, "engine", engine, "jaxrnn", ("jax", "jaxrnn"), "", "ours")


def installed(library: Library) -> bool:
    """Whether all that it imports is there; nothing is imported to find out."""
    return all(importlib.util.find_spec(name.split(".")[0]) for name in library.imports)


def chosen(names: Sequence[str], say: Any) -> list[Library]:
    """The peers of these names that are installed; one line for each that is not."""
    known = {library.name: library for library in PEERS}
    for name in names:
        if name not in known:
            raise UserError(f"--peers holds {name!r}; give some of {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names) if here(name, known[name], say)]


def here(name: str, library: Library, say: Any) -> bool:
    """As `installed`; says in one line that what is called `name` is left out."""
    if not installed(library):
        say(f"{name} is not installed and left out; {library.install}")
    return installed(library)


class WorkerError(Exception):
    """What a library could not do, in one line."""


class Worker:
    """A library in its process. Requests are answered in their order."""

    def __init__(self, library: Library, threads: int, directory: Path, what: str = "layer"):
        self.library, self.directory = library, directory
        module = "limits" if library.family == "limits" else f"{library.module}_{what}"
        self.log = directory / f"{library.name}.log"
        args = [module, library.option, ",".join(library.imports), str(threads)]
        command = [sys.executable, "-m", "experiments.benchmark.peers.worker", *args]
        place: Any = {"cwd": ROOT, "env": environment(library, threads), "text": True}
        pipe = subprocess.PIPE
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, **place)

    def greet(self) -> None:
        """Wait until the library is imported; `greeting` is what its process said, or `failure`."""
        self.greeting: dict[str, Any] | None = None
        try:
            self.greeting, self.failure = self.answer(), ""
        except WorkerError as mistake:
            self.failure = str(mistake)

    def answer(self) -> dict[str, Any]:
        """The next answer; `WorkerError` where it is a mistake, or the process is gone."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            lines = self.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
            status = self.process.wait()
            raise WorkerError(f"its process ended with status {status}; it said {lines[-1][:200]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` says how it ended
            print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.answer()

    def load(self, problem: Mapping[str, Any], arrays: Mapping[str, Any], warm: bool = True) -> Any:
        """Build a problem's calls and run each; `(answer, results by "call/name")`."""
        given, results = (self.directory / f"{self.library.name}-{x}.npz" for x in ("in", "out"))
        np.savez(given, **arrays)
        files = {"arrays": str(given), "results": str(results)}
        answer = self.ask(do="load", problem=problem, warm=warm, **files)
        with np.load(results) as file:
            return answer, dict(file)

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def environment(library: Library, threads: int) -> dict[str, str]:
    """The caller's, with the same number of threads for every library and CPUs only."""
    env = {name: value for name, value in os.environ.items() if name not in DROPPED}
    env |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    env |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    if threads == 1:
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if library.module == "keras":
        env["KERAS_BACKEND"] = library.option
    if library is REFERENCE:
        env["JAX_ENABLE_X64"] = "1"
    return env


@contextmanager
def workers(
    libraries: Sequence[Library], threads: int, directory: Path, what: str = "layer"
) -> Iterator[list[Worker]]:
    """Processes for all of these, ended after the block however it ends."""
    alive: list[Worker] = []
    try:
        for library in libraries:
            alive.append(Worker(library, threads, directory, what))
            # One after the other, so that no import is timed beside another.
            alive[-1].greet()
        yield alive
    finally:
        for worker in alive:
            worker.close()


def interleaved(
    loaded: Mapping[str, tuple[Worker, Mapping[str, int]]], repetitions: int, pause: Any
) -> dict[str, dict[str, list[float]]]:
    """Time all calls of all workers, a turn of each in every round.

    A machine that is slow for a while is slow for all then. Every round begins with another
    library, so that none always has the same neighbour's caches before it.

    Args:
        loaded: a worker and `{call: how often in a turn}` by name.
        repetitions: rounds.
        pause: called before each turn: threads of the last one may still spin.

    Returns:
        `seconds[name][call]`, one number for each round.
    """
    seconds: dict[str, dict[str, list[float]]] = {
        name: {call: [] for call in calls} for name, (_, calls) in loaded.items()
    }
    names = list(loaded)
    for turn in range(repetitions):
        first = turn % max(len(names), 1)
        for call in dict.fromkeys(c for _, calls in loaded.values() for c in calls):
            for name in names[first:] + names[:first]:
                worker, calls = loaded[name]
                if call in calls:
                    pause()
                    answer = worker.ask(do="time", call=call, calls=calls[call])
                    seconds[name][call].append(answer["seconds"])
    return seconds
