"""Asks a trained run: about a text, about a picture, or what is wrong with the question."""

import io
import json
import shutil
import sys

import numpy as np
import pytest
import tiny_mnist
from PIL import Image
from small_run import digits_runner

from experiments import imdb
from experiments.config import cli
from experiments.config.cli import UserError, parse
from experiments.data.reviews import TextData
from experiments.data.text import index
from experiments.predict import __main__ as predict
from experiments.predict import image, text, user_image
from experiments.runs.directory import RunDir
from experiments.training.loop import Runner
from experiments.training.progress import Screen

IMAGES = tiny_mnist.sample(200, 40)


def texts() -> TextData:
    """Praise and blame in one word."""
    train = [f"a film {word}" for word in ("good", "bad") * 20]
    labels = [1, 0] * 20
    return TextData("sample", *index((train, labels), (train[:10], labels[:10])))


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("runs") / "imdb")
    settings = parse(
        imdb.Settings,
        ["--run-dir", path, "--units", "4", "--embedding", "3", "--max-length", "4",
         "--batch-size", "8", "--epochs", "12", "--patience", "12", "--learning-rate", "0.1",
         "--dropout", "0", "--word-dropout", "0", "--average", "0"],
    )  # fmt: skip
    Runner(imdb.task(settings, texts()), settings, RunDir(path), Screen()).fit()
    return path


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("runs") / "mnist")
    digits_runner(path, IMAGES, "--units", "8", "--batch-size", "20", "--epochs", "2").fit()
    return path


@pytest.fixture
def ask(capsys):
    """The command: status, standard output, standard error."""

    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: predict.main(list(args)))
        said = capsys.readouterr()
        return stop.value.code, said.out, said.err

    return run


def test_a_text_gets_label_and_probability(ask, sentiment, tmp_path, monkeypatch) -> None:
    status, out, err = ask(sentiment, "A GOOD film, good!")
    assert (status, err) == (0, "")
    label, probability = out.split()
    assert label == "positive"
    assert 50 < float(probability.rstrip("%")) <= 100
    assert ask(sentiment, "a film bad")[1].startswith("negative")
    (tmp_path / "review.txt").write_text("A GOOD film, good!")
    assert ask(sentiment, "--file", str(tmp_path / "review.txt")) == (0, out, err)
    for ways in ([], ["-"], ["--file", "-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"A GOOD film, good!")))
        assert ask(sentiment, *ways) == (0, out, err)
    status, out, err = ask(sentiment, "unheard words")
    assert status == 0
    assert "2 of 2 words are not in the run's vocabulary" in err


def test_a_picture_gets_a_digit_and_all_probabilities(ask, digits, tmp_path, monkeypatch) -> None:
    path = tmp_path / "digit.png"
    Image.fromarray(255 - np.kron(IMAGES.test.pixels[3], np.ones((9, 9), np.uint8))).save(path)
    status, out, err = ask(digits, str(path))
    assert (status, err) == (0, "")
    first, *rest = out.splitlines()
    run = RunDir(digits)
    (expected,) = image.classify(run, user_image.load(str(path))[None])
    digit, probability = first.split()
    assert (int(digit), probability) == (expected.argmax(), f"{expected.max():.1%}")
    assert [line.split()[0] for line in rest] == list("0123456789")
    shown = [float(line.split()[1].rstrip("%")) / 100 for line in rest]
    np.testing.assert_allclose(shown, expected, atol=0.00051)
    assert sum(shown) == pytest.approx(1, abs=0.006)
    assert ask(digits, "--file", str(path)) == (0, out, "")
    for ways in ([], ["-"], ["--file", "-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        assert ask(digits, *ways) == (0, out, "")


def test_images_are_classified_as_the_run_was_tested(digits) -> None:
    """Image by image, the accuracy and the loss in `summary.json`."""
    run = RunDir(digits)
    probabilities = image.classify(run, IMAGES.test.pixels)
    summary = run.summary()
    right = probabilities.argmax(1) == IMAGES.test.labels
    assert summary["test_accuracy"] == pytest.approx(right.mean())
    loss = -np.log(probabilities[np.arange(40), IMAGES.test.labels]).mean()
    assert summary["test_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("kind", ["sentiment", "digits"])
def test_a_mistake_is_one_line_and_status_2(ask, request, tmp_path, monkeypatch, kind) -> None:
    run = request.getfixturevalue(kind)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "notes.png").write_text("a seven")
    wrong = {
        "sentiment": {
            (run, ""): "the text has no words",
            (str(tmp_path / "latin.txt"), "good"): "is a file and no run; name a run's directory",
            (str(tmp_path / "nowhere"), "good"): "no config.json, for nothing is there",
            (run, "--file", str(tmp_path / "none.txt")): "cannot be read: No such file",
            (run, "--file", str(tmp_path / "latin.txt")): "is not UTF-8 text",
            (run, "good", "--file", "x"): "both given",
            (str(tmp_path), "good"): "is no run",
        },
        "digits": {
            (run, str(tmp_path / "none.png")): "cannot be read: No such file",
            (run, str(tmp_path / "notes.png")): "is no picture of a kind that is read (PNG, JPEG",
            (run, "7"): "7 cannot be read",
            (run, ""): "the picture's name is empty; give a file",
            (run, "a.png", "--file", "b.png"): "both given",
            (run, str(tmp_path)): "Is a directory",
        },
    }[kind]
    before = sorted(tmp_path.rglob("*"))
    for args, message in wrong.items():
        status, out, err = ask(*args)
        assert (status, out) == (2, "")
        assert message in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_no_picture_and_nobody_to_give_one(ask, digits, monkeypatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    status, _, err = ask(digits)
    assert status == 2
    assert "no picture is given; name a file" in err


def test_runs_that_cannot_answer(ask, digits, tmp_path) -> None:
    config = json.loads((RunDir(digits).path / "config.json").read_text())
    Image.fromarray(IMAGES.test.pixels[0]).save(tmp_path / "digit.png")
    for change, message in [
        ({"task": "weather"}, "is a run of weather, which answers no questions"),
        ({"settings": {}}, "config.json: the setting 'pixels' is missing"),
        ({}, "no checkpoint in"),
    ]:
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        status, _, err = ask(str(tmp_path), str(tmp_path / "digit.png"))
        assert status == 2
        assert message in err


def test_another_tasks_settings_do_not_fit_a_checkpoint(digits, tmp_path) -> None:
    run = RunDir(shutil.copytree(digits, tmp_path / "run"))
    config = run.config()
    config["settings"]["units"] = 9
    (run.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"is expected here"):
        image.classify(run, IMAGES.test.pixels)


@pytest.mark.parametrize(
    "text",
    [
        "good \N{GRINNING FACE} film",
        "good\x00film\x00",
        "good \x1b[31mred\x1b[0m \x07",
        "\u202egood\u202c \ufeff \u200b",
        "g\u0308ood \udc80 good",  # half a pair, as undecodable bytes of a command line arrive
        "<b>good</b><br /><br />" * 3,
        "good " * 200_000,
    ],
    ids=["emoji", "nul", "escapes", "bidi", "surrogate", "tags", "megabyte"],
)
def test_any_text_gets_an_answer(ask, sentiment, text) -> None:
    status, out, err = ask(sentiment, text)
    assert status == 0
    assert "error" not in err
    assert out.startswith("positive  ")
    assert out.count("\n") == 1


def test_files_of_any_size_and_content(ask, sentiment, tmp_path, monkeypatch) -> None:
    for name, content in {"large": b"good film " * 105_000, "nul": b"good\0film\0"}.items():
        (tmp_path / name).write_bytes(content)
        status, out, err = ask(sentiment, "--file", str(tmp_path / name))
        assert (status, "error" in err, out.count("\n")) == (0, False, 1)
    monkeypatch.setattr(text, "MOST_BYTES", 1000)
    for args in (["--file", "/dev/zero"], []):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(2000))))
        status, out, err = ask(sentiment, *args)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "has more than 1,000 bytes; give a part of it" in err
    for name in ("a\0b", "/dev", str(tmp_path)):
        status, _, err = ask(sentiment, "--file", name)
        assert (status, err.count("\n")) == (2, 1)
        assert "cannot be read" in err


def test_words_that_nobody_knows_are_said_to_be_so(ask, sentiment) -> None:
    status, out, err = ask(sentiment, "xyzzy plugh \N{GRINNING FACE}")
    assert (status, out.count("\n")) == (0, 1)
    assert err == (
        "2 of 2 words are not in the run's vocabulary; the answer says nothing about them\n"
    )
