"""Asks several questions at once, for people and programs; and what makes an answer doubtful."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tiny_mnist
from PIL import Image
from root import ROOT
from small_run import digits_runner, interrupted, runner

from experiments.config.cli import UserError
from experiments.predict import __main__ as predict
from experiments.predict import text
from experiments.predict.table import Row, written
from experiments.runs.directory import RunDir

TEXTS = ["a good film", "a bad, bad plot", "an unheard actor, good"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    runner(path, "--epochs", "1").fit()
    return str(path)


def test_each_answer_is_that_of_the_text_alone(run, capsys):
    alone = [text.answer(RunDir(run), one, None) for one in TEXTS]
    capsys.readouterr()
    predict.main([run, *TEXTS, "--format", "json"])
    said = capsys.readouterr()
    assert said.err == "text 3: 2 of 4 words are not in the run's vocabulary\n"
    found = json.loads(said.out)
    for row, one, question in zip(found, alone, TEXTS, strict=True):
        assert (row["about"], row["label"]) == (question, one.label)
        # One compiled program for three rows, another for one: float32 rounding.
        assert row["probabilities"] == pytest.approx(dict(one.probabilities), abs=1e-6)
    assert [(row["words"], row["unknown"]) for row in found] == [(3, 0), (4, 0), (4, 2)]


def test_lines_of_a_file_as_csv(run, tmp_path, capsys):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join([TEXTS[0], "", *TEXTS[1:]]) + "\n", encoding="utf-8")
    predict.main([run, "--lines", str(file), "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["about"] for row in rows] == TEXTS
    assert list(rows[0]) == ["about", "label", "negative", "positive", "words", "unknown"]
    for row in rows:
        shares = {name: float(row[name]) for name in ("negative", "positive")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["label"] == max(shares, key=shares.get)


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
def test_a_line_ends_where_an_editor_ends_it(mark, tmp_path):
    """And not at a form feed or at what else Unicode takes for the end of a line."""
    file = tmp_path / "texts.txt"
    lines = ["\ufeffgood\x0cfilm", "", "a bad\u2028plot\x85", "good"]
    file.write_bytes(mark.join(lines).encode())
    found = {"line 1": "good\x0cfilm", "line 3": "a bad\u2028plot", "line 4": "good"}
    assert text.lines(str(file)) == found


def test_a_mark_of_windows_before_a_text_is_no_part_of_it(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbfa film")
    assert text.read(str(tmp_path / "text.txt")) == "a film"


def test_lines_without_words_are_named_and_counted(run, tmp_path):
    (tmp_path / "texts.txt").write_text("good\n\n...\nbad\n!\n?\n")
    message = r"line 3, '\.\.\.', has no words \(nor have 2 others\); give some, or leave it out"
    with pytest.raises(UserError, match=message):
        predict.main([run, "--lines", str(tmp_path / "texts.txt")])


def test_of_many_doubts_the_rest_is_counted(run, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("an unheard film\n" * 25)
    predict.main([run, "--lines", str(tmp_path / "texts.txt")])
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "line 1: 2 of 3 words are not in the run's vocabulary"
    assert said[10:] == ["and 15 more such lines; csv and json count unknown words"]


def test_a_table_is_safe_and_straight_on_any_terminal():
    """No escapes of the terminal; letters of two columns count for two."""
    about = ["\x1b[31mred \x07", "\u6620" * 50]
    rows = [
        Row(text, label, {label: 1.0}) for text, label in zip(about, ["no", "\u826f"], strict=True)
    ]
    first, second = written(rows, "table").splitlines()
    assert first == "no  100.0%  \\x1b[31mred \\x07"
    assert second == "\u826f  100.0%  " + "\u6620" * 29 + "\u2026"


def test_a_long_class_leaves_room_for_the_text():
    row = Row("a film", "c" * 100, {"c" * 100: 1.0})
    assert written([row], "table") == "c" * 23 + "\u2026" + "  100.0%  a film"


def test_classes_that_are_called_like_other_columns_keep_theirs():
    row = Row("a film", "words", {"words": 0.75, "label": 0.25}, 2, 0)
    header, values = written([row], "csv").splitlines()
    assert header == "about,label,probability of words,probability of label,words,unknown"
    assert values == "a film,words,0.75,0.25,2,0"


def test_a_table_is_a_line_for_each(run, capsys):
    predict.main([run, *TEXTS])
    lines = capsys.readouterr().out.splitlines()
    assert [line[line.index("%") + 3 :] for line in lines] == TEXTS


def test_a_long_text_is_cut_in_the_table_and_whole_for_programs():
    row = Row("word " * 100, "yes", {"yes": 1.0})
    assert written([row], "table").endswith("word…")
    assert len(written([row], "table")) < 80
    assert json.loads(written([row], "json"))[0]["about"] == "word " * 100


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a", "--lines", "x"], "--lines and a text or picture are both given"),
        (["--file", "x", "--lines", "y"], "--lines and --file are both given"),
        (["a", "b", "--explain"], "--explain is for one text or picture, on the screen"),
        (["a", "--explain", "--format", "csv"], "--explain is for one text or picture"),
        (["good", ",.;"], r"text 2, ',.;', has no words; give some"),
        (["--lines", "/nowhere.txt"], "--lines /nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_asked_together_is_one_line(run, args, message):
    with pytest.raises(UserError, match=message):
        predict.main([run, *args])


def test_a_file_without_a_text(run, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UserError, match="has no text; write one in each line"):
        predict.main([run, "--lines", str(tmp_path / "empty.txt")])


def test_without_a_standard_input_there_is_no_text(run):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m experiments.predict {run} <&-"],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the text has no words; give at least one\n"


def test_a_run_is_found_along_a_link_and_back(run, tmp_path, capsys):
    """`link/../run` is next to where the link leads."""
    (tmp_path / "link").symlink_to(RunDir(run).checkpoints)
    said = []
    for path in (run, f"{tmp_path}/link/../../run"):
        predict.main([path, "a good film"])
        said.append(capsys.readouterr())
    assert said[0] == said[1]


# --- notes -----------------------------------------------------------------------------------


def notes(run, *args):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.predict", run, *args],
        capture_output=True, text=True, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("positive", "negative"))
    return done.stderr


def test_a_files_name_taken_for_a_text_is_said(run, tmp_path):
    review = tmp_path / "good film.txt"
    review.write_text("a bad film")
    said = notes(run, str(review))
    assert f"{review} is a file, and its name was taken for the text; --file reads it" in said
    assert "is a file" not in notes(run, "--file", str(review))


def test_unknown_words_and_the_cut_are_said(run, capsys):
    text.answer(RunDir(run), "a good unheard film", None)
    assert capsys.readouterr().err == "1 of 4 words is not in the run's vocabulary\n"
    text.answer(RunDir(run), "unheard", None)
    assert capsys.readouterr().err == (
        "1 of 1 word is not in the run's vocabulary; the answer says nothing about it\n"
    )
    text.answer(RunDir(run), "a good film " * 4, None)
    assert capsys.readouterr().err == "of 12 words the run reads the last 8\n"
    text.answer(RunDir(run), "a good film", None)
    assert capsys.readouterr().err == ""


def test_a_run_without_an_epoch_says_so(tmp_path, capsys):
    interrupted(tmp_path / "run", 2)
    capsys.readouterr()
    text.answer(RunDir(tmp_path / "run"), "a good film", None)
    assert "has finished no epoch yet; this is the answer of step 2" in capsys.readouterr().err


def test_several_pictures_are_answered_by_name(tmp_path, capsys):
    path = tmp_path / "digits"
    flags = ["--cell", "rnn", "--units", "4", "--epochs", "1"]
    digits_runner(path, tiny_mnist.sample(60, 20), *flags).fit()
    files = []
    for n, column in enumerate((6, 20)):
        pixels = np.full((28, 28), 255, np.uint8)
        pixels[4:24, column : column + 3] = 0
        files.append(str(tmp_path / f"{n}.png"))
        Image.fromarray(pixels).save(files[-1])
    capsys.readouterr()
    predict.main([str(path), *files, "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert [row["about"] for row in found] == files
    # The same stroke elsewhere on the paper is the same digit.
    assert found[0]["probabilities"] == pytest.approx(found[1]["probabilities"], abs=1e-6)
    with pytest.raises(UserError, match="--lines is for texts"):
        predict.main([str(path), "--lines", files[0]])
