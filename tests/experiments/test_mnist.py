"""Asks the experiment for its settings, a whole run on the built-in sample, and its pictures."""

import json
import os
import signal

import numpy as np
import pytest
import tiny_mnist
from PIL import Image
from small_run import digits_runner

from experiments import mnist, plot
from experiments.config import cli
from experiments.config.cli import UserError, parse
from experiments.plots import digits
from experiments.storage import array_cache
from experiments.training.loop import Runner, Stopped

TINY = tiny_mnist.sample(200, 60)


def settings_of(*args: str) -> mnist.Settings:
    return mnist.resolve(parse(mnist.Settings, list(args)))


def runner(path, *args, images=TINY) -> Runner:
    """What the command makes of these flags, on a small sample."""
    return digits_runner(path, images, "--units", "4", "--batch-size", "16", *args)


# Settings.


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("permute", "-1 x"), ("examples", "1 nan"), ("validation-fraction", "0 1 nan"),
        ("shift", "-1 28"), ("units", "0"), ("batch-size", "0"), ("data", "maybe"),
        ("word-dropout", "0.1"), ("learning-rate", "0 nan"), ("loss", "sigmoid-twice"),
    ],
)  # fmt: skip
def test_every_number_has_bounds(flag, values) -> None:
    for value in values.split():
        with pytest.raises(UserError, match=f"--{flag}"):
            settings_of(f"--{flag}", value)


def test_permuting_means_pixels() -> None:
    assert settings_of("--permute", "7").image.pixels
    for args, title, shape in [
        ([], "rows", (28, 28)),
        (["--pixels"], "pixels", (784, 1)),
        (["--permute", "7"], "permuted pixels", (784, 1)),
    ]:
        task = mnist.task(settings_of("--units", "2", *args), TINY)
        assert task.title == f"Font digits, {title}"
        batch = task.train.train(0, 0, 0)
        assert batch.examples.inputs.shape[1:] == task.inputs == shape
        assert task.model.recurrent.weights.get_value()[0][0].wx.shape[0] == shape[1]


def test_the_parts_are_apart_and_only_training_images_are_moved() -> None:
    args = ["--units", "2", "--examples", "150", "--validation-fraction", "0.2"]
    task = mnist.task(settings_of(*args), TINY._replace(dataset="mnist"))
    assert task.title == "MNIST, rows"
    assert [part.examples for part in (task.train, task.validation, task.test)] == [120, 30, 60]
    parts = [
        {row for batch in part.evaluation() for row in batch.rows.tolist()} - {-1}
        for part in (task.train, task.validation)
    ]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(range(150))
    whole = {"train": TINY.train, "validation": TINY.train, "test": TINY.test}
    for name, images in whole.items():
        for batch in getattr(task, name).evaluation():
            real = batch.rows >= 0
            pixels = images.pixels[batch.rows[real]] / np.float32(255)
            np.testing.assert_allclose(batch.examples.inputs[real], pixels, rtol=1e-6)
    assert task.train.source.shift == 2


def test_the_defaults_are_the_tutorials_model() -> None:
    task = mnist.task(settings_of(), TINY)
    settings = settings_of()
    assert (settings.model.units, settings.training.batch_size) == (128, 32)
    assert (settings.image.examples, settings.image.validation_fraction) == (50_000, 0.1)
    # As Keras counts LSTM(128) on 28 inputs and Dense(10): 80,384 + 1,290.
    from experiments.models import summary

    assert summary.count(task.model) == 81_674


# A run.


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The command itself, on the sample that everyone has; and what it says."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    args = ["--data", "sample", "--run-dir", str(path), "--units", "8", "--examples", "300",
            "--batch-size", "50", "--epochs", "1", "--cell", "gru"]  # fmt: skip
    assert mnist.main(args) == 0
    return path


def test_the_files_of_a_run(whole) -> None:
    names = {p.name for p in whole.iterdir()}
    assert names == {
        "config.json", "metrics.jsonl", "gradients.jsonl", "summary.json", "curves.png",
        "checkpoints",
        "answers.npz", "confusion.png", "mistakes.png",
    }  # fmt: skip
    config = json.loads((whole / "config.json").read_text())
    assert (config["task"], config["dataset"]) == ("mnist", "sample")
    assert config["settings"]["permute"] is None
    summary = json.loads((whole / "summary.json").read_text())
    arrays = array_cache.load(whole / "answers.npz")
    answers = digits.Answers(*(arrays[f] for f in digits.Answers._fields))
    assert len(answers.labels) == 1000
    assert summary["test_accuracy"] == pytest.approx((answers.read == answers.labels).mean())
    np.testing.assert_allclose(answers.probabilities.sum(1), 1, rtol=1e-5)


def test_the_pictures_are_pictures(whole) -> None:
    for name, least in [("confusion.png", (1000, 800)), ("mistakes.png", (1200, 700))]:
        image = Image.open(whole / name).convert("L")
        assert image.width >= least[0]
        assert image.height >= least[1]
        values = np.asarray(image)
        # Neither blank nor cut: ink in every quarter, white all around.
        quarters = [
            part for half in np.array_split(values, 2) for part in np.array_split(half, 2, 1)
        ]
        assert all((quarter < 128).mean() > 0.005 for quarter in quarters)
        edge = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
        assert edge.min() > 200


def test_the_pictures_are_drawn_again_from_the_files_alone(whole, capsys) -> None:
    before = (whole / "confusion.png").read_bytes()
    (whole / "confusion.png").unlink()
    plot.main([str(whole)])
    assert (whole / "confusion.png").read_bytes() == before
    assert capsys.readouterr().out.split() == [
        str(whole / "curves.png"), str(whole / "confusion.png"), str(whole / "mistakes.png")
    ]  # fmt: skip


def test_no_pictures_without_answers(tmp_path, whole) -> None:
    with pytest.raises(UserError, match="is no run"):
        digits.draw(tmp_path)
    (tmp_path / "config.json").write_bytes((whole / "config.json").read_bytes())
    with pytest.raises(UserError, match=r"answers\.npz is missing or damaged"):
        digits.draw(tmp_path)


@pytest.mark.parametrize("step", [3, 13])
def test_resume(tmp_path, step) -> None:
    """Stopped by a signal within an epoch: as if never stopped, bitwise, moved images included."""
    args, straight, stopped = ["--epochs", "2"], tmp_path / "straight", tmp_path / "stopped"
    runner(straight, *args).fit()
    run, asked = runner(stopped, *args), []
    make = run.task.train.train

    def train(*which):
        asked.append(which)
        if len(asked) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return make(*which)

    run.task.train.train = train
    assert run.fit() == Stopped(step, signal.SIGTERM)
    runner(stopped, *args, "--resume").fit()
    digests = [
        json.loads((max(path.glob("checkpoints/*"), key=lambda p: int(p.name)) / "manifest.json")
                   .read_text())["arrays"] for path in (straight, stopped)
    ]  # fmt: skip
    assert digests[0] == digests[1]
    with pytest.raises(UserError, match="--shift is 1, but this run was started with 2"):
        runner(stopped, *args, "--resume", "--shift", "1").fit()


def test_a_mistake_leaves_nothing(tmp_path, capsys) -> None:
    for args, message in [
        (["--data-dir", str(tmp_path / "no")], "does not exist; correct it"),
        (["--word-dropout", "0.5", "--data", "sample"], "--word-dropout drops words"),
        (["--resume", str(tmp_path / "run")], "is no run: it has no config.json"),
    ]:
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda args=args: mnist.main(["--run-dir", str(tmp_path / "run"), *args]))
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_recurrent_net_reads_better_than_the_nearest_mean(tmp_path) -> None:
    images = tiny_mnist.sample(2000, 500)
    summary = runner(
        tmp_path / "run", "--cell", "gru", "--units", "32", "--epochs", "6",
        "--learning-rate", "0.01", "--shift", "0", images=images,
    ).fit()  # fmt: skip
    train, test = images.train, images.test
    means = np.stack([train.pixels[train.labels == digit].mean(0) for digit in range(10)])
    far = ((test.pixels[:, None] / 1.0 - means) ** 2).sum((2, 3))
    nearest = (far.argmin(1) == test.labels).mean()
    assert summary["test_accuracy"] > max(nearest, 0.9)


# Pictures of answers that are known.


def answers_of(labels: list[int], read: list[int], sure: list[float]) -> digits.Answers:
    n = len(labels)
    probabilities = np.full((n, 10), 0.0)
    for row, (digit, p) in zip(probabilities, zip(read, sure, strict=True), strict=True):
        row[:] = (1 - p) / 9
        row[digit] = p
    images = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((28, 28), np.uint8)
    return digits.collect(images, np.array(labels), probabilities.astype(np.float32))


def test_the_worst_mistakes_come_first() -> None:
    answers = answers_of([4, 4, 7, 0], [9, 4, 1, 6], [0.6, 0.9, 0.95, 0.5])
    assert answers.worst.tolist() == [2, 0, 3]
    assert answers.pixels[:, 0, 0].tolist() == [2, 0, 3]
    figure = digits.mistakes(answers, title="t")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["7 → 1 (95%)", "4 → 9 (60%)", "0 → 6 (50%)"]
    assert "the 3 worst" in figure.get_suptitle()


def test_the_confusions_are_counted() -> None:
    rng = np.random.default_rng(0)
    labels, read = rng.integers(0, 10, 500).tolist(), rng.integers(0, 10, 500).tolist()
    figure = digits.confusion(answers_of(labels, read, [0.9] * 500), title="t")
    texts = {t.get_position(): t.get_text() for t in figure.axes[0].texts}
    for true in range(10):
        for said in range(10):
            count = sum((a, b) == (true, said) for a, b in zip(labels, read, strict=True))
            assert texts.get((said, true), "0") == str(count)
    image = figure.axes[0].images[0].get_array()
    assert image.mask.diagonal().all()
    assert "images" in figure.axes[1].get_ylabel()


def test_a_net_without_mistakes_is_drawn_too(tmp_path) -> None:
    answers = answers_of([1, 2], [1, 2], [0.9, 0.9])
    assert len(answers.worst) == 0
    digits.confusion(answers, title="t").savefig(tmp_path / "c.png")
    figure = digits.mistakes(answers, title="t")
    figure.savefig(tmp_path / "m.png")
    assert "no mistakes" in figure.get_suptitle()
