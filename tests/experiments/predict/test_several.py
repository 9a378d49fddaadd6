"""Several questions at once, for people and for programs; and what makes an answer doubtful."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from root import ROOT
from small_run import interrupted, runner

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
        (["good", ",.;"], r"text 2, ',.;', has no words"),
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
    assert capsys.readouterr().err == "1 of 4 words are not in the run's vocabulary\n"
    text.answer(RunDir(run), "unheard", None)
    assert capsys.readouterr().err == (
        "1 of 1 words are not in the run's vocabulary; the answer says nothing of them\n"
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
    from PIL import Image

    from experiments import mnist

    path = tmp_path / "digits"
    mnist.main(["--data", "sample", "--cell", "rnn", "--units", "4", "--epochs", "1",
                "--examples", "500", "--run-dir", str(path)])  # fmt: skip
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
