"""A run that begins with another's weights, and one that is repeated with several seeds."""

import json

import jax
import numpy as np
import pytest
from small_run import TEXT, checkpoint_digest, interrupted, rows, runner

from experiments import imdb
from experiments.config.cli import UserError
from experiments.report.seeds import numbers
from experiments.runs.directory import RunDir
from experiments.runs.load import load


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    runner(path).fit()
    return path


def test_it_begins_with_the_best_weights_of_that_run(tmp_path, whole):
    run = runner(tmp_path / "run", "--init-from", str(whole), "--seed", "5")
    best = load(RunDir(whole), print).params
    for ours, theirs in zip(jax.tree.leaves(run.params), jax.tree.leaves(best), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    run.fit()
    assert rows(tmp_path / "run")[0]["train_loss"] < rows(whole)[0]["train_loss"]
    assert rows(tmp_path / "run")[0]["epoch"] == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--units", "5"], "its --units is 4, and here it is 5; give the same network"),
        (["--cell", "gru"], "its --cell is lstm, and here it is gru"),
        (["--embedding", "7"], "its --embedding is 3, and here it is 7"),
        (["--bidirectional"], "its --bidirectional is False, and here it is True"),
    ],
)
def test_another_network_is_refused(tmp_path, whole, args, message):
    with pytest.raises(UserError, match=message):
        runner(tmp_path / "run", "--init-from", str(whole), *args)
    assert not (tmp_path / "run").exists()


def test_other_words_are_refused(tmp_path, whole, monkeypatch):
    words = type(TEXT.vocabulary)(TEXT.vocabulary.words[::-1])
    monkeypatch.setattr("small_run.TEXT", TEXT._replace(vocabulary=words))
    with pytest.raises(UserError, match="its words are others; give the same data"):
        runner(tmp_path / "run", "--init-from", str(whole))
    with pytest.raises(UserError, match="is no run"):
        runner(tmp_path / "run", "--init-from", str(tmp_path))


def test_it_is_resumed_with_the_same_weights_alone(tmp_path, whole):
    straight, stopped, other = (tmp_path / name for name in ("straight", "stopped", "other"))
    began = ("--init-from", str(whole))
    runner(straight, *began).fit()
    interrupted(stopped, 6, *began)
    runner(other, "--seed", "3").fit()
    with pytest.raises(UserError, match="the weights data is not what this run was started with"):
        runner(stopped, "--resume", "--init-from", str(other)).fit()
    runner(stopped, "--resume", *began).fit()
    assert checkpoint_digest(stopped) == checkpoint_digest(straight)


def test_seeds_are_runs_of_their_own_and_one_report(tmp_path, whole, monkeypatch, capsys):
    monkeypatch.setattr("experiments.data.reviews.load_text", lambda *_: TEXT)
    config = str(whole / "config.json")
    base = tmp_path / "run"
    assert imdb.main(["--config", config, "--seeds", "0,7", "--run-dir", str(base)]) == 0
    said = capsys.readouterr().out
    assert rows(tmp_path / "run-seed0") == rows(whole)
    summaries = [json.loads((tmp_path / f"run-seed{n}/summary.json").read_text()) for n in (0, 7)]
    tests = [summary["test_accuracy"] for summary in summaries]
    assert f"{np.mean(tests):.4f} ± {np.std(tests, ddof=1):.4f} |" in said
    settings = json.loads((tmp_path / "run-seed7" / "config.json").read_text())["settings"]
    assert (settings["seed"], settings["seeds"]) == (7, None)
    with pytest.raises(UserError, match="--seed says one, and --seeds says which"):
        imdb.main(["--seeds", "0,7", "--seed", "3"])


@pytest.mark.parametrize("text", ["a", "1,-2", "0,1.5", str(2**31), ",", ""])
def test_what_is_no_seed_is_named(text):
    with pytest.raises(UserError, match=r"--seeds (holds|is empty)"):
        numbers(text)


def test_a_seed_is_run_once():
    assert numbers("3, 1 3,2") == [3, 1, 2]
