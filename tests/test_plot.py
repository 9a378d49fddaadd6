"""The picture of a run: what is drawn, what the title says, what is refused."""

import json
import math

import matplotlib.image
import numpy as np
import pytest

from experiments import plot
from experiments.cli import UserError

CONFIG = {
    "title": "IMDB sentiment",
    "dataset": "imdb",
    "settings": {"cell": "lstm", "units": 32, "layers": 1, "bidirectional": False},
}
SUMMARY = {"test_accuracy": 0.8812}


def rows(n=6, best=4):
    """Accuracy that rises to `best` and falls behind it."""
    return [
        {
            "epoch": e, "step": 10 * e, "train_loss": 0.7 - 0.08 * e, "val_loss": 0.5 + 0.01 * e,
            "train_accuracy": 0.6 + 0.05 * e, "val_accuracy": 0.85 - 0.01 * abs(e - best),
            "seconds": 1.0,
        }
        for e in range(1, n + 1)
    ]  # fmt: skip


def run_dir(path, table, config=CONFIG, summary=SUMMARY):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    if summary is not None:
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def line(axes, label):
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found.get_xydata()


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_lines_are_the_rows(n):
    table = rows(n, best=min(n, 4))
    figure = plot.curves(table, title="a title")
    assert figure.get_suptitle() == "a title"
    assert len(figure.axes) == 2
    for axes, name in zip(figure.axes, ("accuracy", "loss"), strict=True):
        for part, label in (("train", "training"), ("val", "validation")):
            expected = [[row["epoch"], row[f"{part}_{name}"]] for row in table]
            np.testing.assert_array_equal(line(axes, label), expected)
        best = table[min(n, 4) - 1]
        np.testing.assert_array_equal(
            line(axes, "best epoch"), [[best["epoch"], best[f"val_{name}"]]]
        )
        assert axes.get_xlabel() == "epoch"
        assert axes.get_legend() is not None
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "accuracy (%)", "loss (cross-entropy, nats)",
    ]  # fmt: skip
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["85.0%", f"{best['val_loss']:.3f}"]


def test_training_and_validation_differ_without_colour():
    """In grey by lightness (0 to 1), and by dash and marker."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    colours = [matplotlib.colors.to_rgb(s["color"]) for s in (plot.TRAINING, plot.VALIDATION)]
    light, dark = (float(weights @ colour) for colour in colours)
    assert light - dark > 0.25
    for name in ("linestyle", "marker"):
        assert plot.TRAINING[name] != plot.VALIDATION[name]


def test_the_png_is_a_picture_of_readme_size(tmp_path):
    picture = plot.draw(run_dir(tmp_path / "run", rows()))
    pixels = matplotlib.image.imread(picture)
    height, width = pixels.shape[:2]
    assert width >= 1600
    assert 0.3 < height / width < 0.6
    # Neither blank nor full: lines and letters on white.
    ink = (pixels[..., :3] < 0.9).any(axis=-1).mean()
    assert 0.01 < ink < 0.3
    assert sorted(p.name for p in picture.parent.iterdir()) == [
        "config.json", "curves.png", "metrics.jsonl", "summary.json",
    ]  # fmt: skip


BEST = "best validation accuracy 85.0% (epoch 4)"
STACK = {"settings": {"cell": "rnn", "units": 64, "layers": 2, "bidirectional": True}}


@pytest.mark.parametrize(
    ("config", "summary", "expected"),
    [
        ({}, SUMMARY, f"IMDB sentiment · LSTM(32) · {BEST} · test 88.1%"),
        ({}, None, f"IMDB sentiment · LSTM(32) · {BEST}"),
        ({"dataset": "sample"}, None, f"IMDB sentiment · LSTM(32) · dataset: sample · {BEST}"),
        (STACK, None, f"IMDB sentiment · bidirectional 2 x SimpleRNN(64) · {BEST}"),
    ],
)
def test_the_title_says_data_cell_and_result(config, summary, expected):
    assert plot.title(CONFIG | config, summary, rows()) == expected


def test_rows_that_are_not_numbers_are_left_out_not_fatal(tmp_path):
    table = rows()
    table[2]["val_accuracy"] = table[2]["val_loss"] = math.nan
    figure = plot.curves(table, title="")
    assert line(figure.axes[0], "best epoch")[0, 0] == 4
    plot.draw(run_dir(tmp_path / "run", table))


def test_of_equal_epochs_the_first_is_best():
    table = rows()
    table[5]["val_accuracy"] = table[3]["val_accuracy"]
    assert line(plot.curves(table, title="").axes[0], "best epoch")[0, 0] == 4


def test_what_cannot_be_drawn_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nothing is no run: it has no config\.json"):
        plot.draw(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no metrics\.jsonl with a row yet; train an epoch"):
        plot.draw(run_dir(tmp_path / "young", []))
    broken = run_dir(tmp_path / "broken", rows())
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "step"')
    with pytest.raises(UserError, match=r"metrics.jsonl is damaged: line 7 is no row"):
        plot.draw(broken)
    assert not (broken / "curves.png").exists()
