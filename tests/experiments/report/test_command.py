"""Runs side by side: the table says what their files say, the picture has a line for each."""

import matplotlib.image
import pytest
from run_files import CONFIG, rows, run_dir

from experiments.config.cli import UserError
from experiments.report import __main__ as report
from experiments.report.picture import picture
from experiments.report.table import deviations
from experiments.runs.results import best_row

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
            assert list(mark.get_xdata()) == [best_row(one.rows)["epoch"]]
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
        ([str(young)], "no run among these has a finished epoch"),
        ([*runs, "--out", str(tmp_path / "nowhere" / "x")], "nowhere is no directory; make it"),
        ([*runs, "--out", "."], r"--out \. is a directory; add what the files' names begin with"),
        ([*runs, "--out", f"{tmp_path}/"], "is a directory; add what the files' names begin with"),
    ):
        with pytest.raises(UserError, match=message):
            report.main(args)
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_without_an_epoch_are_left_out_and_said(runs, tmp_path, capsys):
    young = run_dir(tmp_path / "young", [])
    report.main(runs)
    expected = capsys.readouterr()
    report.main([*runs, str(young)])
    said = capsys.readouterr()
    assert (said.out, expected.err) == (expected.out, "")
    assert said.err == f"{young} is left out: it has no finished epoch yet\n"


def test_seeds_have_a_mean_and_a_deviation(tmp_path):
    """0.85, 0.86, 0.88 and 0.87, 0.88, 0.89; a run of other settings is not among them."""
    directories = []
    for seed, (val, test) in enumerate([(0.85, 0.87), (0.86, 0.88), (0.88, 0.89)]):
        config = CONFIG | {"settings": CONFIG["settings"] | {"seed": seed}}
        table = [row | {"val_accuracy": val - 0.01 * row["epoch"]} for row in rows(3)]
        table[0]["val_accuracy"] = val
        summary = {"parameters": 3, "test_accuracy": test}
        directories.append(run_dir(tmp_path / str(seed), table, config, summary))
    alone = CONFIG | {"settings": CONFIG["settings"] | {"seed": 0, "units": 7}}
    directories.append(run_dir(tmp_path / "alone", rows(3), alone, None))
    text = deviations([report.load(path) for path in directories])
    # statistics by hand: deviations of 0.0133, 0.0033 and 0.0167 from 0.8633; of 0.01, 0, 0.01.
    assert text.splitlines()[3:] == ["| LSTM(32) | 0, 1, 2 | 0.8633 ± 0.0153 | 0.8800 ± 0.0100 |"]
    assert deviations([report.load(path) for path in directories[2:]]) == ""


def test_a_study_of_memory_is_left_out_and_said(runs, tmp_path, capsys):
    study = tmp_path / "study"
    study.mkdir()
    (study / "config.json").write_text('{"task": "memory-sequence", "settings": {}}')
    (study / "results.jsonl").write_text("")
    report.main([*runs, str(study)])
    assert f"{study} is left out: it is a study of memory, which --page shows" in (
        capsys.readouterr().err
    )


def test_every_task_has_axes_of_its_own(runs, tmp_path):
    digits = CONFIG | {"title": "MNIST, rows"}
    other = str(run_dir(tmp_path / "digits", rows(2, best=1), digits, SUMMARY))
    figure = picture([report.load(path) for path in (*runs, other)])
    assert figure.get_suptitle() == "IMDB sentiment · MNIST, rows · 3 runs · dataset: sample"
    assert [len(axes.get_lines()) // 2 for axes in figure.axes] == [2, 2, 1, 1]
    assert [sub.get_suptitle() for sub in figure.subfigs] == ["IMDB sentiment", "MNIST, rows"]
