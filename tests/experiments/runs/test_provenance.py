"""Files that are whole, and not this run's: another run's, an old copy's, edited, of other data."""

import json
import shutil

import numpy as np
import pytest
from small_run import TEXT, interrupted, runner

from experiments.config.cli import UserError
from experiments.predict import text
from experiments.runs import provenance, seal
from experiments.runs.directory import VOCABULARY, RunDir
from experiments.training.task import digest


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Two runs that differ in their seed, stopped within the second epoch."""
    paths = [tmp_path_factory.mktemp("runs") / f"seed{seed}" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        interrupted(path, 5, "--seed", str(seed))
    return paths


@pytest.fixture
def run(stopped, tmp_path):
    """A copy of the first, to be spoilt."""
    return shutil.copytree(stopped[0], tmp_path / "run")


def edit(path, **settings):
    """Change settings in a `config.json`."""
    config = json.loads((path / "config.json").read_text())
    config["settings"] |= settings
    (path / "config.json").write_text(json.dumps(config))
    return config


def refused(path, message, *args):
    """Resuming is one line, and changes no file but by setting nothing aside."""
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=message) as caught:
        runner(path, "--resume", *args).fit()
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_checkpoints_of_another_run_are_not_trained_on(run, stopped):
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(stopped[1] / "checkpoints", run / "checkpoints")
    refused(run, r"checkpoints/5 was saved with --seed 1, and the run has 0")


def test_a_single_step_of_another_run_is_not_trained_on(run, stopped):
    """As its newest one, under a number that this run never had."""
    shutil.rmtree(run / "checkpoints" / "5")
    shutil.copytree(stopped[1] / "checkpoints" / "5", run / "checkpoints" / "5")
    refused(run, r"was saved with --seed 1, and the run has 0")


def test_an_edited_config_is_not_trained_on(run):
    """Edited together with the flags, so that these two agree."""
    edit(run, learning_rate=0.5)
    refused(run, "was saved with --learning-rate 0.01, and the run has 0.5", "--learning-rate=0.5")


def test_other_data_under_the_same_name_is_not_trained_on(run, monkeypatch):
    train = TEXT.train._replace(labels=1 - TEXT.train.labels)
    monkeypatch.setattr("small_run.TEXT", TEXT._replace(train=train))
    refused(run, r"the training data is not what this run was started with \(SHA-256 \w{12}, now")


def test_other_words_under_the_same_name_are_not_trained_on(run, monkeypatch):
    words = type(TEXT.vocabulary)(TEXT.vocabulary.words[::-1])
    monkeypatch.setattr("small_run.TEXT", TEXT._replace(vocabulary=words))
    refused(run, "the vocabulary data is not what this run was started with")


def test_rows_without_checkpoints_are_not_overwritten(run):
    shutil.rmtree(run / "checkpoints")
    refused(run, "has 1 finished epochs and no checkpoint; put its checkpoints back")


def test_checkpoints_without_a_config_are_kept(run):
    (run / "config.json").unlink()
    refused(run, "has checkpoints and no config.json; put it back")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truncate": "tail"}, "was saved with --truncate head, and the run has tail"),
        ({"max_length": 3}, "was saved with --max-length 8, and the run has 3"),
        ({"average": 0.5}, "was saved with --average 0.995, and the run has 0.5"),
    ],
)
def test_an_edited_config_is_not_asked(run, change, message):
    edit(run, **change)
    with pytest.raises(UserError, match=message):
        text.answer(RunDir(run), "a good film", None)


def test_another_runs_vocabulary_is_not_asked(run):
    """As many words: every id would be another one's."""
    words = type(TEXT.vocabulary)(TEXT.vocabulary.words[::-1])
    words.save(run / VOCABULARY)
    with pytest.raises(UserError, match="was saved with the vocabulary data"):
        text.answer(RunDir(run), "a good film", None)


def test_older_runs_which_did_not_write_it_down_go_on(run):
    config = json.loads((run / "config.json").read_text())
    for name in ("data", "engines", "random", "machine"):
        del config[name]
    (run / "config.json").write_text(json.dumps(config))
    known = {"settings": config["settings"]}
    seal.check_sealed({"rows": []}, known, run)
    assert runner(run, "--resume").fit()["dataset"] == "sample"


def test_what_differs_and_is_allowed_is_said(run):
    before = RunDir(run).config()
    now = json.loads(json.dumps(before))
    assert provenance.check_same(before, now) == []
    now["machine"], now["engines"], now["random"] = "another", ["scan"], "0"
    lines = provenance.check_same(before, now)
    assert [line.split()[0] for line in lines] == ["machine:", "engines:", "jax"]
    assert "dropout has other masks from here" in lines[2]


def test_a_checkpoint_of_something_else():
    with pytest.raises(UserError, match="is no checkpoint of a training"):
        seal.check_sealed({"rows": 3}, {}, "here")


def test_a_digest_tells_values_shapes_types_and_their_order():
    a, b = np.arange(6, dtype=np.int32), np.zeros((2, 0), np.float32)
    found = [digest(a, b), digest(b, a), digest(a), digest(a.reshape(2, 3), b),
             digest(a.view(np.uint32), b), digest(a[::-1], b)]  # fmt: skip
    assert len(set(found)) == len(found)
    assert digest(a.copy(), b) == found[0]
