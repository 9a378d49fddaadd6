"""Makes runs of the commands on 200 texts or some digits: a second or two each."""

import json
import os
import signal

import numpy as np

from experiments import imdb, mnist
from experiments.config.cli import parse
from experiments.config.imdb import Settings
from experiments.data.reviews import TextData
from experiments.data.text import index
from experiments.runs.directory import RunDir
from experiments.training.loop import Runner
from experiments.training.progress import Screen


def corpus():
    """Texts whose label is whether the last word is "good": 150 to train on, 50 to test."""
    rng = np.random.default_rng(0)
    words = np.array(["a", "film", "plot", "actor", "scene", "good", "bad"])
    texts, labels = [], []
    for _ in range(200):
        label = int(rng.integers(2))
        # Few lengths: each padded shape compiles.
        middle = words[rng.integers(0, len(words), rng.choice([2, 9]))]
        texts.append(" ".join([*middle, "good" if label else "bad"]))
        labels.append(label)
    train, test, vocabulary = index((texts[:150], labels[:150]), (texts[150:], labels[150:]))
    return TextData("sample", train, test, vocabulary)


TEXT = corpus()


def runner(path, *args):
    """What the command makes of these flags, on the small corpus."""
    settings = parse(
        Settings,
        ["--run-dir", str(path), "--units", "4", "--embedding", "3", "--max-length", "8",
         "--batch-size", "32", "--epochs", "3", "--learning-rate", "0.01", *args],
    )  # fmt: skip
    directory = RunDir(path)
    directory.check(resume=settings.run.resume)
    return Runner(imdb.task(settings, TEXT), settings, directory, Screen())


def digits_runner(path, images, *args):
    """What the command `mnist` makes of these flags, on these images."""
    settings = mnist.resolve(parse(mnist.Settings, ["--run-dir", str(path), *args]))
    directory = RunDir(path)
    directory.check(resume=settings.run.resume)
    return Runner(mnist.task(settings, images), settings, directory, Screen())


def interrupted(path, step, *args, number=signal.SIGTERM):
    """A run that gets a signal while batch `step` is being made."""
    run, asked = runner(path, *args), []
    make = run.task.train.train

    def train(*which):
        asked.append(which)
        if len(asked) == step:
            os.kill(os.getpid(), number)
        return make(*which)

    run.task.train.train = train
    return run.fit()


def rows(path, *, seconds=False):
    found = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if seconds or k != "seconds"} for row in found]


def checkpoint_digest(path):
    """SHA-256 of every array of the newest checkpoint: parameters, optimizer state, step."""
    steps = {int(p.name): p for p in (path / "checkpoints").iterdir() if p.name.isdigit()}
    return json.loads((steps[max(steps)] / "manifest.json").read_text())["arrays"]
