"""Tries random command lines: an answer or one clear line, and nothing written by a mistake."""

import contextlib
import io
import random
import shutil
import sys
import typing

import pytest
import small_run
import tiny_mnist
from small_run import runner

from experiments import checkpoint, imdb, mnist, plot
from experiments.config import cli
from experiments.config.imdb import Settings as ImdbSettings
from experiments.config.mnist import Settings as MnistSettings
from experiments.data.images import ImageData
from experiments.memory import __main__ as memory
from experiments.predict import __main__ as predict
from experiments.report import __main__ as report

GARBAGE = ["", " ", "nan", "inf", "-inf", "1e400", "-1", "0", "1e6", "x", "ü", "\u202e", "--",
           "1,5", "0x10", "None", "true", "9" * 400, "../..", "\udc80"]  # fmt: skip

# Small, so that a line that is right is trained in seconds.
RIGHT = {
    "members": ["1", "2"],
    "units": ["1", "5"], "layers": ["1", "2"], "embedding": ["1", "3"], "hidden": ["0", "3"],
    "bigrams": ["0", "1", "50"],
    "vocabulary": ["4", "9"], "max_length": ["1", "8"], "batch_size": ["1", "32", "500"],
    "epochs": ["1", "2"], "examples": ["2", "40"], "learning_rate": ["1e-6", "0.1", "100"],
    "validation_fraction": ["0.2", "0.5"], "dropout": ["0", "0.9"], "word_dropout": ["0", "0.9"],
    "average": ["0", "0.9"], "clip_norm": ["0.1", "10"], "weight_decay": ["0", "1"],
    "label_smoothing": ["0", "0.5"], "patience": ["1", "5"], "seed": ["0", "7"],
    "permute": ["0", "3"], "shift": ["0", "2"], "checkpoint_steps": ["1", "3"],
    "checkpoint_minutes": ["1"], "max_skipped": ["0", "3"], "epsilon": ["1e-7", "1e-3"],
}  # fmt: skip
ELSEWHERE = {
    "run_dir", "data", "data_dir", "config", "recipe", "resume", "debug_nans", "pixels",
    "devices", "pmap", "coordinator", "processes", "process_id",
    "test_data", "test_fraction", "embeddings", "init_from", "seeds", "log",
}  # fmt: skip


def flags_of(settings):
    """Every flag of a command with values that are right and values that may not be."""
    found = {}
    for group, kind in typing.get_type_hints(settings).items():
        if not hasattr(kind, "__dataclass_fields__"):
            continue
        hints = typing.get_type_hints(kind)
        for name, hint in hints.items():
            if name in ELSEWHERE:
                continue
            choices = [value for value in typing.get_args(hint) if isinstance(value, str)]
            if hint is bool:
                found[name] = (None, None)
            elif choices:
                found[name] = (choices, [*GARBAGE, choices[0].upper()])
            else:
                assert name in RIGHT, f"{group}.{name} is a new setting: give values for it"
                found[name] = (RIGHT[name], GARBAGE)
    return found


def line(rng, flags, wrong):
    """A command line in which each of some flags is a mistake with this probability."""
    words = []
    for name in rng.sample(sorted(flags), rng.randint(0, 5)):
        right, garbage = flags[name]
        if right is None:
            words.append(rng.choice(["--", "--no-"]) + name.replace("_", "-"))
            continue
        spelled = cli.flag(name)
        if rng.random() < wrong / 4:
            spelled = rng.choice([spelled + "s", spelled[:-1], "-" + name[0], name])
        words += [spelled, rng.choice(garbage if rng.random() < wrong else right)]
        if rng.random() < wrong / 8:
            words.pop()
    return words


def call(main, words):
    """Exit status and standard error of a command; anything but an exit is a bug."""
    said = io.StringIO()
    with (
        contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(SystemExit) as stop,
    ):  # fmt: skip
        cli.run(lambda: main(words))
    return stop.value.code, said.getvalue()


@pytest.fixture
def small(monkeypatch):
    """The commands on data of a few hundred examples."""
    monkeypatch.setattr("experiments.data.reviews.load_text", lambda *_: small_run.TEXT)
    images = tiny_mnist.sample(60, 20)
    assert isinstance(images, ImageData)
    monkeypatch.setattr("experiments.data.images.load_images", lambda *_: images)
    monkeypatch.setattr(sys, "argv", ["command"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))


def fuzz(tmp_path, count, seed):
    rng = random.Random(seed)
    trainers = {"imdb": (imdb.main, flags_of(ImdbSettings)),
                "mnist": (mnist.main, flags_of(MnistSettings))}  # fmt: skip
    run = tmp_path / "a-run"
    runner(run).fit()
    things = [str(run), str(tmp_path), str(run / "config.json"), str(tmp_path / "none"), "--help",
              *GARBAGE]  # fmt: skip
    askers = [predict.main, report.main, plot.main, checkpoint.main, memory.main]
    ended = {0: 0, 2: 0}
    for number in range(count):
        out = tmp_path / "out"
        if number % 4:
            main, flags = trainers[rng.choice(["imdb", "mnist"])]
            words = [*line(rng, flags, 0.35), "--run-dir", str(out), "--epochs", "1"]
        else:
            main = rng.choice(askers)
            words = [rng.choice(things) for _ in range(rng.randint(0, 3))]
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        code, said = call(main, words)
        about = f"{main.__module__} {words}: {said}"
        assert code in (0, 2), about
        assert "Traceback" not in said, about
        ended[code] += 1
        if code == 2:
            (message,) = [text for text in said.splitlines() if text.startswith("error: ")]
            after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
            assert after == before, about
            assert len(message) > len("error: "), about
        if out.exists():
            shutil.rmtree(out)
    return ended


def test_a_dozen_command_lines(tmp_path, small):
    ended = fuzz(tmp_path, 12, seed=2)
    assert min(ended.values()) >= 2


@pytest.mark.slow
def test_five_hundred_command_lines(tmp_path, small):
    ended = fuzz(tmp_path, 500, seed=1)
    assert min(ended.values()) >= 25
