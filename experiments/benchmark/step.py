"""Times a training step of the IMDB model in every library, after comparing its first loss."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.layer import pause, start
from experiments.benchmark.peers.layouts import weights_for
from experiments.benchmark.problems import Problem, draw
from experiments.benchmark.statistics import summary
from experiments.benchmark.workers import WorkerError, chosen, interleaved, ours, workers
from experiments.config.cli import UserError

VOCABULARY, FEATURES, LEARNING_RATE = 10_000, 32, 0.001
# The first loss is a mean of logistic losses near 0.69 of the same weights on the same words: one
# float32 rounds it by 6e-8, 500 steps before it add little, and a wrong gate moves it by 1e-3.
TOLERANCE = 1e-5
STEPS = ("keras-jax", "keras-tf", "torch")


def command(settings: Any, threads: int, say: Callable[[str], None]) -> dict[str, Any]:
    """`benchmark step`."""
    for name in settings.peers:
        if name not in STEPS:
            raise UserError(f"--peers holds {name!r}; give some of {', '.join(STEPS)}")
    libraries = [ours("default")._replace(name="jaxrnn"), *chosen(settings.peers, say)]
    arrays = draw_model(settings.steps, settings.batch_size, settings.units)
    losses, entries, loaded = {}, {}, {}
    with (
        tempfile.TemporaryDirectory(prefix="jaxrnn-benchmark-") as name,
        workers(libraries, threads, Path(name), "step") as alive,
    ):
        started = start(alive, say)
        for worker in (w for w in alive if w.library.name in started):
            name = worker.library.name
            lstm = weights_for(worker.library.layout, "lstm", arrays["lstm"])
            given = {k: a for k, a in arrays.items() if k != "lstm"}
            given |= {f"w:{k}": a for k, a in lstm.items()}
            say(name)
            try:
                answer, outputs = worker.load({"learning_rate": LEARNING_RATE}, given)
            except WorkerError as mistake:
                say(f"{name} is left out: {mistake}")
                continue
            losses[name] = float(outputs["step/loss"])
            entries[name] = {"loss": losses[name], "first": answer["first"]["step"]}
            loaded[name] = (worker, answer["calls"])
        wrong = disagreeing(losses)
        agreed = {name: pair for name, pair in loaded.items() if name not in wrong}
        for name, seconds in interleaved(agreed, settings.repetitions, pause).items():
            entries[name]["step"] = summary(seconds["step"])
    return {
        "rows": rows(entries),
        "results": entries,
        "notes": [
            f"A step of LSTM({settings.units}) on {settings.batch_size} reviews of "
            f"{settings.steps} words, none of it padding; Adam; median of {settings.repetitions}. "
            "The first step compiles. Same weights and words, so the first losses are equal."
        ],
        "disagreeing": [f"{name}: first loss {losses[name]}" for name in wrong],
    }


def draw_model(steps: int, batch: int, units: int) -> dict[str, Any]:
    """Weights and words at random; `lstm` are `Params`."""
    rng = np.random.default_rng(1)
    lstm, _ = draw(Problem("", "lstm", (1, 1, FEATURES, units)))
    return {
        "lstm": lstm,
        "embedding": rng.uniform(-0.5, 0.5, (VOCABULARY, FEATURES)).astype(np.float32),
        "kernel": rng.uniform(-0.4, 0.4, (units, 1)).astype(np.float32),
        "bias": np.zeros(1, np.float32),
        "tokens": rng.integers(1, VOCABULARY, (batch, steps), np.int32),
        "labels": rng.integers(0, 2, batch, np.int32),
    }


def disagreeing(losses: Mapping[str, float]) -> list[str]:
    """Who computes another first loss than the middle one of all."""
    middle = sorted(losses.values())[len(losses) // 2] if losses else 0
    return [name for name, loss in losses.items() if not abs(loss - middle) <= TOLERANCE * middle]


def rows(entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One for each library, with its ratio to ours."""
    mine = entries.get("jaxrnn", {}).get("step", {}).get("median")
    table = []
    for name, entry in entries.items():
        step, loss = entry.get("step"), f"{entry['loss']:.6f}"
        row = {"library": name, "first loss": loss, "first step (s)": entry["first"]}
        for key, words in (("median", "step (ms)"), ("q1", "first quartile"), ("q3", "third")):
            row[words] = 1000 * step[key] if step else None
        table.append(row | {"times ours": step["median"] / mine if step and mine else None})
    return table
