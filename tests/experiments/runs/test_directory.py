"""The files of a run from anywhere: read, or one line of what is wrong with them."""

import json

import pytest
from run_files import CONFIG, rows, run_dir

from experiments.config.cli import UserError
from experiments.plots import curves
from experiments.report import __main__ as report
from experiments.runs.directory import RunDir
from experiments.storage.files import read_json

SUMMARY = {"parameters": 328353, "test_accuracy": 0.8812}
DEEP = "[" * 100_000


def one_line(call, *args):
    with pytest.raises(UserError) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def directory(tmp_path):
    return run_dir(tmp_path / "run", rows(3, best=2), CONFIG, SUMMARY)


@pytest.mark.parametrize(
    "text",
    ["", "{", DEEP, "null", "[]", "3", '{"settings": []}', '{"title": 3}', '{"versions": "x"}',
     '{"task": ["imdb"]}', '{"devices": {}}', "\x00", "1" * 5000, '{"data": 1}'],
)  # fmt: skip
def test_a_config_that_is_none(directory, text):
    (RunDir(directory).path / "config.json").write_text(text)
    for call in (RunDir(directory).config, lambda: curves.draw(directory)):
        assert "config.json" in one_line(call)


def test_a_config_that_is_no_text(directory):
    (RunDir(directory).path / "config.json").write_bytes(b"\xff\xfe{}")
    assert "cannot be read" in one_line(RunDir(directory).config)
    assert "cannot be read" in one_line(read_json, RunDir(directory).path)


@pytest.mark.parametrize("value", [None, "0.5", True, [1], {}, 10**400])
@pytest.mark.parametrize("field", ["epoch", "val_accuracy"])
def test_a_row_that_nobody_can_draw(directory, field, value):
    path = RunDir(directory).path / "metrics.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | {field: value})
    path.write_text("\n".join(lines) + "\n")
    for call in (lambda: curves.draw(directory), lambda: report.load(directory)):
        assert "line 2 is no row of metrics" in one_line(call)


@pytest.mark.parametrize("text", [DEEP, "{}", "x", '{"epoch": 1'])
def test_rows_that_are_none(directory, text):
    path = RunDir(directory).path / "metrics.jsonl"
    path.write_text(path.read_text() + text)
    assert "line 4 is no row of metrics" in one_line(RunDir(directory).rows)


def test_line_ends_do_not_matter(directory):
    path, expected = RunDir(directory).path / "metrics.jsonl", RunDir(directory).rows()
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert RunDir(directory).rows() == expected


@pytest.mark.parametrize("change", [{"test_accuracy": "high"}, {"parameters": None}])
def test_a_summary_without_its_numbers(directory, change):
    path = RunDir(directory).path / "summary.json"
    path.write_text(json.dumps(SUMMARY | change))
    said = one_line(report.load, directory)
    assert f"{path} is damaged: {next(iter(change))} is no number; delete it" in said


def test_formulas_in_a_title_are_text(tmp_path, capsys):
    """matplotlib reads what stands between two $ as mathematics, and fails on most of it."""
    odd = CONFIG | {"title": r"$\frac{$ and $x_$", "settings": {"cell": ["$"], "layers": "$^$"}}
    directory = run_dir(tmp_path / r"a $\x$ b", rows(2, best=1), odd, SUMMARY)
    assert curves.draw(directory).read_bytes()[:4] == b"\x89PNG"
    report.main([str(directory), "--out", str(tmp_path / "all")])
    capsys.readouterr()
    assert (tmp_path / "all.png").read_bytes()[:4] == b"\x89PNG"
