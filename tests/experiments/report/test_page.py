"""The page of results says what the files of the runs say, beside the tutorial's figures."""

import json
import math
import statistics

import matplotlib.image
import pytest
from run_files import rows, run_dir

from experiments.config import imdb
from experiments.config.cli import UserError
from experiments.config.mnist import Settings as MnistSettings
from experiments.config.settings import flatten
from experiments.report import __main__ as report
from experiments.report import page
from experiments.runs.results import load

VERSIONS = {"python": "3.11.7", "jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8"}


def config(settings, **changes):
    return {
        "task": "imdb", "title": "IMDB sentiment", "dataset": "imdb",
        "settings": flatten(settings) | changes, "versions": VERSIONS, "machine": "A, 2 cores",
    }  # fmt: skip


def a_run(path, settings, test_accuracy=0.88, **changes):
    summary = {"parameters": 1000, "test_accuracy": test_accuracy}
    return str(run_dir(path, rows(4, best=2), config(settings, **changes), summary))


@pytest.fixture
def runs(tmp_path):
    lstm, stacked = imdb.lstm(), imdb.stacked()
    return [
        a_run(tmp_path / "s", stacked, loss="sigmoid-twice"),
        a_run(tmp_path / "l1", lstm, 0.86, seed=1, run_dir="elsewhere"),
        a_run(tmp_path / "l0", lstm, 0.88),
    ]


def test_seeds_are_one_row_with_each_figure_and_their_mean(runs):
    (lstm, stacked) = page.sections([load(path) for path in runs]).values()
    (group,) = page.grouped(lstm)
    row = page.row(group, whole=False)
    assert row["command"] == "`python -m experiments.imdb --recipe lstm`"
    assert row["seeds"] == "0, 1"
    assert row["test accuracy"] == "0.8800, 0.8600; mean **0.8700**"
    assert row["best validation accuracy"] == "0.8500, 0.8500; mean **0.8500**"
    assert row["seconds per epoch"] == "1.0"
    assert row["lowest training loss"] == f"{0.7 - 0.08 * 4:.3f}"
    assert [len(g) for g in page.grouped(stacked)] == [1]


def test_the_command_has_what_differs_and_nothing_else(runs):
    assert page.command(load(runs[0])) == (
        "python -m experiments.imdb --recipe stacked --loss sigmoid-twice"
    )


def test_a_legend_tells_the_rows_of_a_table_apart(runs):
    stacked, one, other = [load(path) for path in runs]
    assert page.names([other, one]) == ["LSTM(32), seed 0", "LSTM(32), seed 1"]
    assert page.names([stacked, other, one]) == [
        "1: 2 x SimpleRNN(64), seed 0", "2: LSTM(32), seed 0", "2: LSTM(32), seed 1",
    ]  # fmt: skip
    assert "| row | command |" in page.section("any", [stacked, one, other])
    assert "| row |" not in page.section("any", [one, other])


def test_a_run_from_before_a_setting_is_one_without_it(tmp_path):
    about = config(imdb.best())
    del about["settings"]["bigrams"]
    run_dir(tmp_path / "old", rows(3, best=2), about, {"parameters": 10, "test_accuracy": 0.5})
    assert page.command(load(tmp_path / "old")) == (
        "python -m experiments.imdb --recipe best --bigrams 0"
    )


def test_a_part_of_the_images_says_what_all_would_cost(tmp_path):
    settings = MnistSettings()
    path = tmp_path / "pixels"
    about = config(settings, pixels=True, examples=5000)
    about |= {"task": "mnist", "title": "MNIST, pixels"}
    summary = {"parameters": 10, "test_accuracy": 0.5}
    run_dir(path, [row | {"seconds": 30.0} for row in rows(3, best=2)], about, summary)
    (key,) = page.sections([load(path)])
    assert key == "mnist pixels"
    row = page.row([load(path)], whole=True)
    # 30 s for 5,000 images: 300 s for 50,000, ten times.
    assert row["a full run, extrapolated"] == "50 minutes"
    assert row["command"] == "`python -m experiments.mnist --pixels --examples 5000`"


def test_the_bound_of_two_sigmoids():
    """The mean over both labels of the least that each can cost, by trying every probability."""

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    tried = [k / 1000 for k in range(1001)]
    positive = min(-math.log(sigmoid(p)) for p in tried)
    negative = min(-math.log(1 - sigmoid(p)) for p in tried)
    bound = statistics.mean([positive, negative])
    said = f"{positive:.3f} on a positive review and -log 0.5 = {negative:.3f} on a negative one"
    assert f"{said}, {bound:.3f} on the average" in page.STORIES["imdb stacked"]


def a_study(path, cell):
    path.mkdir()
    (path / "config.json").write_text(
        json.dumps({"task": "memory-sequence", "versions": VERSIONS, "machine": "A, 2 cores"})
    )
    rows = [
        {"network": network, "pair": [5, 2], "truth": 4, "prediction": prediction}
        for network, prediction in (("feed-forward", 4.881), (cell, 4.03))
    ]
    (path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "sequence.png").write_bytes(b"a picture")
    return path


def test_the_command_writes_page_and_pictures(runs, tmp_path, capsys):
    both = [a_study(tmp_path / "one", "rnn"), a_study(tmp_path / "two", "lstm")]
    page = tmp_path / "RESULTS.md"
    report.main([*runs, *map(str, both), "--page", str(page)])
    text = page.read_text()
    assert text.index("LSTM(32) on 500 steps") < text.index("two layers of SimpleRNN(64)")
    assert "Tutorial: best validation accuracy 0.887, 487 s per epoch." in text
    assert text.count("| feed-forward | 4.88 |") == 1, "both studies have it"
    assert "| SimpleRNN | 4.03 |" in text
    assert "| LSTM | 4.03 |" in text
    assert text.count("Measured on A, 2 cores; python 3.11.7, jax 0.10.2") == 3
    for name in ("imdb-lstm", "imdb-stacked"):
        assert f"docs/results-{name}.png" in text
        pixels = matplotlib.image.imread(tmp_path / "docs" / f"results-{name}.png")
        assert (pixels[..., :3] < 0.9).any(axis=-1).mean() > 0.01
    for path in both:
        picture = tmp_path / "docs" / f"results-{path.name}.png"
        assert picture.read_bytes() == b"a picture"


def test_bad_input_is_one_line(runs, tmp_path):
    with pytest.raises(UserError, match="its directory is not there; make it first"):
        report.main([*runs, "--page", str(tmp_path / "nowhere" / "R.md")])
    assert not (tmp_path / "nowhere").exists()
