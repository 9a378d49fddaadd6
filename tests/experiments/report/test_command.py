"""Runs side by side: the table says what their files say, the picture has a line for each."""

import matplotlib.image
import pytest
from run_files import CONFIG, rows, run_dir

from experiments.config.cli import UserError
from experiments.report import __main__ as report
from experiments.report.picture import picture

SUMMARY = {"parameters": 328353, "test_accuracy": 0.8812}


@pytest.fixture
def runs(tmp_path):
    gru = CONFIG | {"settings": CONFIG["settings"] | {"cell": "gru"}, "versions": {"jax": "0.10.2"}}
    return [
        str(run_dir(tmp_path / "one", rows(6, best=4), gru, SUMMARY)),
        str(run_dir(tmp_path / "two", rows(3, best=2), CONFIG | {"dataset": "sample"}, None)),
    ]


def test_the_table_is_what_the_files_say(runs):
    lines = report.table([report.load(path) for path in runs]).splitlines()
    assert lines[2:] == [
        "| one | imdb | GRU(32) | 328,353 | 0.8500 | 4 | 0.8812 | 1.0 | 0.10.2 |",
        "| two | sample | LSTM(32) | - | 0.8500 | 2 | not finished | 1.0 | - |",
    ]
    assert {line.count("|") for line in lines} == {10}


def test_the_picture_has_a_line_and_a_best_epoch_for_every_run(runs):
    loaded = [report.load(path) for path in runs]
    figure = picture(loaded)
    assert figure.get_suptitle() == "IMDB sentiment · 2 runs · dataset: sample"
    for axes, name in zip(figure.axes, ("accuracy", "loss"), strict=True):
        lines = axes.get_lines()
        assert len(lines) == 4
        for one, line, mark in zip(loaded, lines[::2], lines[1::2], strict=True):
            assert list(line.get_ydata()) == [row[f"val_{name}"] for row in one.rows]
            assert line.get_label() == one.name
            assert list(mark.get_xdata()) == [report.best_row(one.rows)["epoch"]]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker())
             for line in figure.axes[0].get_lines()[::2]}  # fmt: skip
    assert len(looks) == 2


def test_the_command_writes_both_and_prints_the_table(runs, tmp_path, capsys):
    report.main([*runs, "--out", str(tmp_path / "both")])
    assert capsys.readouterr().out == (tmp_path / "both.md").read_text()
    pixels = matplotlib.image.imread(tmp_path / "both.png")
    assert pixels.shape[1] >= 1600
    assert 0.01 < (pixels[..., :3] < 0.9).any(axis=-1).mean() < 0.3


def test_bad_input_is_one_line_and_nothing_is_written(runs, tmp_path):
    young = run_dir(tmp_path / "young", [])
    before = sorted(tmp_path.rglob("*"))
    for args, message in (
        ([], "no run is named"),
        ([str(tmp_path)], r"is no run: it has no config\.json"),
        ([*runs, str(young)], "young has no finished epoch yet; leave it out"),
        ([*runs, "--out", str(tmp_path / "nowhere" / "x")], "nowhere is no directory; make it"),
    ):
        with pytest.raises(UserError, match=message):
            report.main(args)
    assert sorted(tmp_path.rglob("*")) == before
