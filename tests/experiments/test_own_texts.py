"""One's own texts of three classes, from a file to answers: every command on such a run."""

import json
import os
import shutil

import numpy as np
import pytest
from own_texts import examples, table, write

from experiments import checkpoint, export, imdb, plot
from experiments.config import cli
from experiments.config.cli import UserError
from experiments.data.shuffling import split_test
from experiments.plots import confusion
from experiments.predict import __main__ as predict
from experiments.predict import text
from experiments.report import __main__ as report
from experiments.runs.directory import RunDir

FLAGS = [
    *("--cell", "gru", "--units", "8", "--embedding", "8", "--max-length", "12", "--average", "0"),
    *("--batch-size", "4", "--epochs", "2", "--learning-rate", "0.05"),
    *("--dropout", "0", "--word-dropout", "0"),
]
COOKING = "the salt, the butter and the dough"
SPORTS = "the coach of the team, a goal"


def csv(path, rows):
    return write(path, table(rows, names=("text", "label")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run in a directory beside its data, which are gone when it is asked."""
    place = tmp_path_factory.mktemp("own")
    csv(place / "topics.csv", examples(240))
    before = os.getcwd()
    os.chdir(place)
    try:
        assert imdb.main(["--data", "topics.csv", *FLAGS]) == 0
    finally:
        os.chdir(before)
    (place / "topics.csv").rename(place / "away.csv")
    return place / "runs" / "topics-gru-seed0"


def test_its_files_name_the_classes(trained):
    config = json.loads((trained / "config.json").read_text())
    summary = json.loads((trained / "summary.json").read_text())
    assert config["classes"] == summary["classes"] == ["cooking", "politics", "sports"]
    assert (config["title"], config["dataset"]) == ("topics.csv, 3 classes", "topics.csv")
    assert config["data"].keys() == {"training", "test", "vocabulary", "source", "classes"}
    assert summary["test_accuracy"] > 0.8, "a third is chance"
    assert checkpoint.main(["verify", str(trained)]) == 0


def test_it_answers_with_a_name(trained, capsys):
    predict.main([str(trained), COOKING])
    first, *bars = capsys.readouterr().out.splitlines()
    assert first.split()[0] == "cooking"
    assert bars[0].split()[0] == "cooking"
    assert sorted(bar.split()[0] for bar in bars) == ["cooking", "politics", "sports"]
    shares = [float(bar.split()[1].rstrip("%")) for bar in bars]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert first.split()[1] == bars[0].split()[1]
    found = text.answer(RunDir(trained), SPORTS, None)
    assert found.label == "sports"
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_many_classes_are_ten_rows_of_sixty_columns():
    shares = {f"a rather long name of a class, number {n}": n / 210 for n in range(21)}
    first, *bars = str(text.Answer(shares)).splitlines()
    assert first == "a rather long name of a class, number 20  9.5%"
    assert len(bars) == 10
    assert bars[0].split() == ["a", "rather", "long", "name", "of", "a…", "9.5%", "██"]
    assert (
        max(map(len, str(text.Answer({"b" * 99: 1.0, "c": 0.0, "d": 0.0})).splitlines()[1:])) == 60
    )


def test_a_run_is_called_after_its_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for data, name in {
        "../my reviews.v2.csv": "my-reviews.v2-gru-seed3",
        ".": f"{tmp_path.name}-gru-seed3",
        "sample": "imdb-gru-seed3",
    }.items():
        args = ["--data", data, "--cell", "gru", "--seed", "3"]
        assert imdb.name(cli.parse(imdb.Settings, args)) == name


@pytest.mark.parametrize(("asked", "answer"), [(COOKING, "cooking"), (SPORTS, "sports")])
def test_it_explains_the_class_it_answers(trained, asked, answer):
    found = text.explain(RunDir(trained), asked, None)
    own = text.answer(RunDir(trained), asked, None)
    assert (found.shown, found.other) == (own.label, None) == (answer, None)
    assert found.probabilities[-1] == pytest.approx(own.probability, abs=1e-5)
    for k in (2, 4):
        part = text.answer(RunDir(trained), " ".join(found.words[:k]), None)
        assert found.probabilities[k] == pytest.approx(part.probabilities[answer], abs=1e-5)


def test_the_explanation_names_the_class(trained, capsys, tmp_path):
    predict.main([str(trained), COOKING, "--explain", "--out", str(tmp_path / "x.png")])
    said = capsys.readouterr().out
    assert "towards cooking:" in said
    assert "away from cooking:" in said
    assert "0 to 100% cooking:" in said
    assert "positive" not in said


def test_it_is_exported(trained):
    export.main([str(trained)])
    export.main([str(trained), "--check"])
    card = json.loads((trained / "export" / "export.json").read_text())
    assert card["output"]["logits"]["shape"] == ["batch", 3]


def test_what_it_takes_for_what_is_counted_and_drawn(trained, tmp_path, capsys):
    """Each text of the test part asked by itself gives the same counts."""
    found = confusion.read(trained)
    assert found.classes == ("cooking", "politics", "sports")
    assert found.counts.shape == (3, 3)
    assert found.counts.sum(1).tolist() == [16, 16, 16]
    summary = json.loads((trained / "summary.json").read_text())
    assert found.counts.trace() / 48 == pytest.approx(summary["test_accuracy"])
    rows = examples(240)
    labels = [found.classes.index(label) for _, label in rows]
    _, test = split_test(np.array(labels), 0.2, 0)
    counts = np.zeros((3, 3), int)
    for k in test:
        said = text.answer(RunDir(trained), rows[k][0], None).label
        counts[labels[k], found.classes.index(said)] += 1
    np.testing.assert_array_equal(counts, found.counts)
    run = shutil.copytree(trained, tmp_path / "run")
    before = (run / "confusion.png").read_bytes()
    (run / "confusion.png").unlink()
    plot.main([str(run)])
    assert str(run / "confusion.png") in capsys.readouterr().out
    assert (run / "confusion.png").read_bytes() == before
    (run / "confusion.json").write_text('{"classes": ["a"], "counts": [[1, 2]]}')
    with pytest.raises(UserError, match=r"confusion\.json is damaged; delete it"):
        plot.main([str(run)])


def test_a_report_says_how_it_does_with_each_class(trained, tmp_path, capsys):
    report.main([str(trained), "--page", str(tmp_path / "page.md")])
    said, found = capsys.readouterr().out, confusion.read(trained)
    assert "| topics-gru-seed0 | topics.csv | GRU(8) |" in said
    cells = [f"{share:.4f} of 16" for share in found.shares]
    assert "| answered rightly | cooking | politics | sports |" in said
    assert f"| topics-gru-seed0 | {' | '.join(cells)} |" in said
    page = (tmp_path / "page.md").read_text()
    assert "## topics.csv, 3 classes" in page
    assert "`python -m experiments.imdb --data topics.csv" in page


def test_it_goes_on_with_the_same_texts_wherever_they_lie_and_with_no_others(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    args = [*FLAGS, "--run-dir", str(run), "--resume"]
    moved = tmp_path / "sub" / "topics.csv"
    moved.parent.mkdir()
    shutil.copy(trained.parents[1] / "away.csv", moved)
    before = json.loads((run / "summary.json").read_text())
    (run / "summary.json").unlink()
    assert imdb.main(["--data", str(moved), *args]) == 0
    after = json.loads((run / "summary.json").read_text())
    assert after["test_accuracy"] == before["test_accuracy"]
    rows = examples(240)
    for change, message in (
        ([(f"{words} oven", label) for words, label in rows], "the training data is not what"),
        (rows[:-1], "the training data is not what this run"),
        ([(words, label.upper()) for words, label in rows], "the source data is not what"),
    ):
        csv(moved, change)
        with pytest.raises(UserError, match=f"--resume: {message}") as caught:
            imdb.main(["--data", str(moved), *args])
        assert "\n" not in str(caught.value)


def test_other_names_of_the_classes_are_not_answered(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["classes"].reverse()
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="was saved with the classes data"):
        text.answer(RunDir(run), COOKING, None)
    for names in (["a"], ["a", "a"], [1, 2], []):
        (run / "config.json").write_text(json.dumps(config | {"classes": names}))
        with pytest.raises(UserError, match=r"config\.json: classes are .* different names, or mo"):
            text.answer(RunDir(run), COOKING, None)


def test_two_classes_have_one_logit(tmp_path, capsys):
    rows = [row for row in examples(120) if row[1] != "politics"]
    path, run = csv(tmp_path / "two.csv", rows), tmp_path / "run"
    assert imdb.main(["--data", str(path), *FLAGS, "--run-dir", str(run)]) == 0
    capsys.readouterr()
    predict.main([str(run), COOKING])
    assert capsys.readouterr().out.split()[0] == "cooking"
    export.write(RunDir(run))
    card = json.loads((run / "export" / "export.json").read_text())
    assert card["output"]["logits"]["shape"] == ["batch", 1]
    found = text.explain(RunDir(run), COOKING, None)
    assert (found.shown, found.other) == ("sports", "cooking")
    assert found.answer().split()[0] == "cooking"
    np.testing.assert_allclose(
        found.probabilities[-1],
        text.answer(RunDir(run), COOKING, None).probabilities["sports"],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--test-fraction", "0.3"], "--test-fraction is for texts of your own"),
        (["--test-data", "x.csv", "--data", "sample"], "--test-data is for texts of your own"),
        (["--data", "x.csv", "--data-dir", "y"], "--data-dir is for --data tfds, and --data is"),
        (["--data", "x.csv", "--test-data", "y.csv", "--test-fraction", "0.1"], "give one"),
        (["--data", "x.csv", "--test-data", "sample"], "--test-data is sample; give a file"),
        (["--data", "review.txt"], r"--data is review\.txt; give auto, tfds, sample, a file \("),
        (["--data", ""], "--data is empty; give auto"),
        (["--data", "none.csv"], r"none\.csv does not exist; give a file or a directory of texts"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        imdb.main(args)
    assert not list(tmp_path.iterdir())


def test_a_loss_of_two_classes_is_refused_for_three(tmp_path):
    path = csv(tmp_path / "three.csv", examples(30))
    with pytest.raises(UserError, match=r"--loss sigmoid-twice is for two classes, and three\.csv"):
        imdb.main(
            ["--data", str(path), "--loss", "sigmoid-twice", "--run-dir", str(tmp_path / "run")]
        )
    assert not (tmp_path / "run").exists()
