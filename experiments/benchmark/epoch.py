"""Times epochs of IMDB: our command and the other libraries' scripts, in turns."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmark.workers import PEERS, ROOT, Library, environment, here, ours
from experiments.config.cli import UserError

# Leaves a process only some cores before anything counts them.
RESTRICTED = (
    "import runpy, sys; from experiments.benchmark.peers.worker import restrict; "
    "restrict(int(sys.argv[1])); sys.argv = sys.argv[2:]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
# Without this our command would not compile in its second run; the others do in each.
COLD = {"JAX_ENABLE_COMPILATION_CACHE": "0"}


class Script(NamedTuple):
    """A library's own way to train the model: a module and its arguments."""

    library: Library
    module: str
    args: tuple[str, ...]


BY_NAME = {library.name: library for library in PEERS}
KERAS, TORCH = "experiments.benchmark.peers.imdb_keras", "experiments.benchmark.peers.imdb_torch"
SCRIPTS = {
    "jaxrnn": Script(ours("default"), "experiments.imdb", ("--cell", "lstm", "--units", "32")),
    "keras-tf": Script(BY_NAME["keras-tf"], KERAS, ("--backend", "tensorflow")),
    "keras-jax": Script(BY_NAME["keras-jax"], KERAS, ("--backend", "jax")),
    "torch-packed": Script(BY_NAME["torch"], TORCH, ("--padding", "packed")),
    "torch-padded": Script(BY_NAME["torch"], TORCH, ("--padding", "padded")),
}


def command(settings: Any, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """`benchmark epoch`."""
    for name in settings.scripts:
        if name not in SCRIPTS:
            raise UserError(f"--scripts holds {name!r}; give some of {', '.join(SCRIPTS)}")
    names = [n for n in dict.fromkeys(settings.scripts) if here(n, SCRIPTS[n].library, say)]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(settings.repetitions):
        for name in names:
            say(f"{name}, run {turn + 1} of {settings.repetitions}")
            runs[name].append(one_run(SCRIPTS[name], settings, threads))
    return {
        "rows": rows(runs),
        "results": runs,
        "notes": [
            "Embedding of 10,000 words, LSTM(32), one output; batches of 128; an epoch is 20,000 "
            "reviews and validation on 5,000. Seconds are the median of the epochs after the "
            "first, which compiles; the whole command includes imports and reading the words, and "
            "ours the test of the best epoch on 25,000 reviews, checkpoints and curves."
        ],
        "disagreeing": [],
    }


def one_run(script: Script, settings: Any, threads: int) -> dict[str, Any]:
    """Run a script to its end: seconds and validation accuracy of each epoch.

    Raises:
        UserError: it failed; with its last line.
    """
    with tempfile.TemporaryDirectory(prefix="jaxrnn-benchmark-") as directory:
        run_dir = Path(directory) / "run"
        args = [*script.args, "--data", settings.data, "--epochs", str(settings.epochs)]
        if settings.data_dir is not None:
            args += ["--data-dir", settings.data_dir]
        if script.library.family == "ours":
            args += ["--run-dir", str(run_dir)]
        else:
            args += ["--threads", str(threads)]
        begun = time.perf_counter()
        command = [sys.executable, "-c", RESTRICTED, str(threads), script.module, *args]
        env = environment(script.library, threads) | COLD
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise UserError(f"{script.module} ended with status {done.returncode}: {last}"[:300])
        lines = (run_dir / "metrics.jsonl").read_text() if run_dir.exists() else done.stdout
    return {"epochs": parsed(lines), "command_seconds": seconds}


def parsed(lines: str) -> list[dict[str, float]]:
    """Each epoch's seconds and validation accuracy, out of lines of JSON; others are skipped."""
    epochs = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    keys = ("seconds", "val_accuracy", "parameters")
    return [{key: row[key] for key in keys if key in row} for row in epochs]


def rows(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One for each script, with its ratio to ours."""
    table: list[dict[str, Any]] = []
    median = statistics.median
    for name, repeated in runs.items():
        epochs = [run["epochs"] for run in repeated]
        later = [row["seconds"] for rows in epochs for row in rows[1:] or rows]
        accuracy = [max(row["val_accuracy"] for row in rows) for rows in epochs]
        row = {"script": name, "seconds per epoch": median(later)}
        row["first epoch"] = median(rows[0]["seconds"] for rows in epochs)
        row["whole command"] = median(run["command_seconds"] for run in repeated)
        table.append(row | {"best validation accuracy": median(accuracy)})
    mine = next((row["seconds per epoch"] for row in table if row["script"] == "jaxrnn"), None)
    return [row | {"times ours": mine and row["seconds per epoch"] / mine} for row in table]
