"""The picture of a run: what is drawn, what the title says, what is refused."""

import math

import matplotlib.colors
import matplotlib.image
import matplotlib.text
import numpy as np
import pytest
from run_files import CONFIG, SUMMARY, rows, run_dir

from experiments import plot
from experiments.config import cli
from experiments.config.cli import UserError
from experiments.plots import curves


def line(axes, label):
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found.get_xydata()


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_lines_are_the_rows(n):
    table = rows(n, best=min(n, 4))
    figure = curves.curves(table, title="a title")
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
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "accuracy (%)", "loss (cross-entropy, nats)",
    ]  # fmt: skip
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["training", "validation", "best epoch"]
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["85.0%", f"{best['val_loss']:.3f}"]


def test_training_and_validation_differ_without_colour():
    """In grey by lightness (0 to 1), and by dash and marker."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    colours = [matplotlib.colors.to_rgb(s["color"]) for s in (curves.TRAINING, curves.VALIDATION)]
    light, dark = (float(weights @ colour) for colour in colours)
    assert light - dark > 0.25
    for name in ("linestyle", "marker"):
        assert curves.TRAINING[name] != curves.VALIDATION[name]


def test_the_png_is_a_picture_of_readme_size(tmp_path):
    picture = curves.draw(run_dir(tmp_path / "run", rows()))
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


def test_a_live_picture_is_drawn_at_first_and_then_when_it_is_old(monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "draw", drawn.append)
    live = curves.LivePicture("a run")
    seen = [live.draw(now) or len(drawn) for now in (100.0, 101, 105, 105.1, 106, 110, 111)]
    assert seen == [1, 1, 1, 2, 2, 2, 3]
    assert set(drawn) == {"a run"}


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
    assert curves.title(CONFIG | config, summary, rows()) == expected


def test_a_long_title_is_broken_where_its_parts_meet():
    title = curves.title(CONFIG | STACK | {"dataset": "sample"}, SUMMARY, rows())
    shown = curves.curves(rows(), title=title).get_suptitle()
    assert shown.split("\n") == [
        "IMDB sentiment · bidirectional 2 x SimpleRNN(64) · dataset: sample",
        f"{BEST} · test 88.1%",
    ]  # fmt: skip
    assert curves.curves(rows(), title="x" * 200).get_suptitle() == "x" * 200


@pytest.mark.parametrize("n", [1, 2, 3, 10, 500])
@pytest.mark.parametrize("where", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_no_letter_leaves_the_picture_and_no_label_covers_its_mark(n, where):
    best = 1 + round(where * (n - 1))
    title = curves.title(CONFIG | STACK | {"dataset": "sample"}, SUMMARY, rows(n, best))
    figure = curves.curves(rows(n, best), title=title)
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    ticks = [t for axes in figure.axes for t in axes.get_xticklabels() + axes.get_yticklabels()]
    for text in figure.findobj(matplotlib.text.Text):
        if text not in ticks:
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.x1 <= width, text
            assert box.y0 >= 0, text
            assert box.y1 <= height, text
    for axes in figure.axes:
        (label,) = axes.texts
        mark = axes.transData.transform(line(axes, "best epoch")[0])
        assert not label.get_window_extent().contains(*mark)


def test_rows_that_are_not_numbers_are_left_out_not_fatal(tmp_path):
    table = rows()
    table[2]["val_accuracy"] = table[2]["val_loss"] = math.nan
    figure = curves.curves(table, title="")
    assert line(figure.axes[0], "best epoch")[0, 0] == 4
    curves.draw(run_dir(tmp_path / "run", table))
    for row in table:
        row["val_accuracy"] = row["val_loss"] = row["train_accuracy"] = row["train_loss"] = math.nan
    curves.draw(run_dir(tmp_path / "run", table))


def test_of_equal_epochs_the_first_is_best():
    table = rows()
    table[5]["val_accuracy"] = table[3]["val_accuracy"]
    assert line(curves.curves(table, title="").axes[0], "best epoch")[0, 0] == 4


def test_what_cannot_be_drawn_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nothing is no run: it has no config\.json"):
        curves.draw(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"no metrics\.jsonl with a row yet; train an epoch"):
        curves.draw(run_dir(tmp_path / "young", []))
    broken = run_dir(tmp_path / "broken", rows())
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "step"')
    with pytest.raises(UserError, match=r"metrics.jsonl is damaged: line 7 is no row"):
        curves.draw(broken)
    assert not (broken / "curves.png").exists()


def test_the_command_draws_or_exits_with_2(tmp_path, capsys):
    def status(*args):
        with pytest.raises(SystemExit) as stop:
            cli.run(lambda: plot.main(list(args)))
        return stop.value.code

    good = run_dir(tmp_path / "run", rows())
    assert status(str(good)) == 0
    assert capsys.readouterr().out.strip() == str(good / "curves.png")
    assert status() == status(str(good), "--colour") == 2
    capsys.readouterr()
    for bad in (tmp_path, tmp_path / "nothing", good / "config.json"):
        assert status(str(bad)) == 2
        said = capsys.readouterr()
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert said.out == ""


def test_a_picture_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    old = curves.draw(run_dir(tmp_path / "run", rows()))
    before = old.read_bytes()

    def full(self, path, **_):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(UserError, match="no space"):
        curves.draw(old.parent)
    assert old.read_bytes() == before
