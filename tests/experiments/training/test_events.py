"""What TensorBoard is given is what the files of the run say."""

import json
import math
import struct

import pytest
from small_run import TEXT, rows, runner
from tensorboardX.proto.event_pb2 import Event

from experiments import imdb
from experiments.training import events


def read(directory):
    """{title: [(step, value)]}; a record is a length, its checksum, the bytes, theirs."""
    found = {}
    for file in sorted((directory / events.PLACE).iterdir()):
        content, at = file.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                number = value.simple_value if kind == "simple_value" else kind
                found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_every_epoch_and_the_result_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.data.reviews.load_text", lambda *_: TEXT)
    args = ["--units", "4", "--embedding", "3", "--max-length", "8", "--batch-size", "32",
            "--epochs", "3", "--learning-rate", "0.01"]  # fmt: skip
    path = tmp_path / "run"
    assert imdb.main([*args, "--run-dir", str(path), "--log", "tensorboard"]) == 0
    there = read(path)
    for name, title in events.SCALARS.items():
        if name == "gradient_norm":
            lines = (path / "gradients.jsonl").read_text().splitlines()
            expected = [json.loads(line)[name] for line in lines]
        else:
            expected = [row[name] for row in rows(path, seconds=True)]
        assert [step for step, _ in there[title]] == [4, 8, 12]
        # TensorBoard keeps float32, 24 bits.
        assert [value for _, value in there[title]] == pytest.approx(expected, rel=1e-7)
    # The cosine from 0.01 over 12 steps, at the last step of each epoch.
    cosine = [0.01 * 0.5 * (1 + math.cos(math.pi * n / 12))
              for n in (3, 7, 11)]  # fmt: skip
    assert [value for _, value in there["learning_rate"]] == pytest.approx(cosine, rel=1e-5)
    result = json.loads((path / "summary.json").read_text())
    assert there["test/accuracy"] == [(12, pytest.approx(result["test_accuracy"], rel=1e-7))]


def test_nothing_is_written_unasked(tmp_path):
    runner(tmp_path / "run", "--epochs", "1").fit()
    assert not (tmp_path / "run" / events.PLACE).exists()


def test_pictures_of_a_finished_run_are_shown(tmp_path):
    from experiments.plots.style import figure, save

    save(figure(2, 2, "x"), tmp_path / "confusion.png")
    events.end(tmp_path, {"test_loss": 0.5, "test_accuracy": 0.25}, 7)
    there = read(tmp_path)
    assert there["test/confusion_matrix"] == [(7, "image")]
    assert there["test/loss"] == [(7, 0.5)]
