"""Follows a run from start to end on a small corpus: its files, its promises, its resumption."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from small_run import TEXT, checkpoint_digest, interrupted, rows, runner

from experiments import imdb
from experiments.config.cli import UserError, parse
from experiments.config.imdb import Settings
from experiments.plots import curves
from experiments.predict import text as predict
from experiments.runs.checkpoint import Checkpoints
from experiments.runs.directory import RunDir
from experiments.training.loop import Runner, Stopped
from experiments.training.progress import Screen

ROW = ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"]
SUMMARY = [
    "dataset", "cell", "parameters", "best_epoch", "best_val_accuracy", "test_loss",
    "test_accuracy", "seconds", "classes",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run with all defaults, left alone."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    runner(path).fit()
    return path


def test_the_files_of_a_run_are_the_contract(whole):
    config = json.loads((whole / "config.json").read_text())
    assert config["settings"]["cell"] == "lstm"
    assert config["settings"]["units"] == 4
    assert config["dataset"] == "sample"
    assert {"python", "jax", "flax", "optax"} <= config["versions"].keys()
    assert config["devices"]
    found = rows(whole, seconds=True)
    assert [list(row) for row in found] == [ROW] * 3
    assert [row["epoch"] for row in found] == [1, 2, 3]
    assert [row["step"] for row in found] == [4, 8, 12]  # 120 of 150 texts, 32 at a time
    summary = json.loads((whole / "summary.json").read_text())
    assert list(summary) == SUMMARY
    assert (summary["dataset"], summary["cell"]) == ("sample", "lstm")
    assert summary["classes"] == config["classes"] == ["negative", "positive"]
    best = max(found, key=lambda row: row["val_accuracy"])
    assert summary["best_epoch"] == best["epoch"]
    assert summary["best_val_accuracy"] == best["val_accuracy"]
    assert (whole / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(whole.glob(".*")), "something half-written was left"


def test_the_test_accuracy_is_the_best_epochs_over_every_test_text(whole):
    """Counted again text by text, through `predict`."""
    right = 0
    for i, label in enumerate(TEXT.test.labels):
        text = TEXT.vocabulary.decode(TEXT.test.example(i)[1:])
        answer = predict.answer(RunDir(whole), text, None)
        right += (answer.label == "positive") == bool(label)
        assert 0.5 <= answer.probability <= 1
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["test_accuracy"] == pytest.approx(right / len(TEXT.test.labels))


def test_two_runs_with_one_seed_are_bit_equal_and_another_seed_is_not(tmp_path, whole):
    again, other = tmp_path / "again", tmp_path / "other"
    runner(again).fit()
    runner(other, "--seed", "1").fit()
    assert rows(again) == rows(whole)
    assert rows(other) != rows(whole)
    assert checkpoint_digest(again) == checkpoint_digest(whole)


def test_weights_and_masks_follow_the_seed(tmp_path):
    runs = [runner(tmp_path / seed, "--dropout", "0.5", "--seed", seed) for seed in ("0", "1")]
    drawn = [np.asarray(run.params["dense"]["kernel"][...]) for run in runs]
    assert not np.array_equal(*drawn)
    batch = runs[0].task.train.train(0, 0, 0).examples
    losses = []
    for run in runs:
        _, report = run.steps.train(run.steps.init(runs[0].params), batch)
        losses.append(float(report.totals.loss))
    assert losses[0] != losses[1]


def test_a_row_is_the_sums_of_its_own_epoch(tmp_path):
    run, reports = runner(tmp_path / "run"), []
    train = run.steps.train

    def noted(state, examples):
        state, report = train(state, examples)
        reports.append(report)
        return state, report

    run.steps = run.steps._replace(train=noted)
    run.fit()
    norms = (tmp_path / "run" / "gradients.jsonl").read_text().splitlines()
    for row, line in zip(rows(tmp_path / "run"), norms, strict=True):
        own, reports = reports[:4], reports[4:]
        loss, correct, weight = (sum(float(r.totals[k]) for r in own) for k in range(3))
        assert row["train_loss"] == pytest.approx(loss / weight, rel=1e-5)
        assert row["train_accuracy"] == pytest.approx(correct / weight, rel=1e-5)
        norm = sum(float(r.gradient_norm) for r in own) / 4
        assert json.loads(line)["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert not reports


RESUMED = ["--dropout", "0.3", "--optimizer", "adam", "--average", "0.9"]


@pytest.fixture(scope="module")
def never_stopped(request, tmp_path_factory):
    """A cell, and a run of it from start to end."""
    path = tmp_path_factory.mktemp("never") / "stopped"
    runner(path, "--cell", request.param, *RESUMED).fit()
    return request.param, path


# With one cell, for nothing of this knows the cell; by hand with all.
@pytest.mark.parametrize("step", [2, 4, 5])
@pytest.mark.parametrize(
    "never_stopped",
    ["lstm", *(pytest.param(cell, marks=pytest.mark.slow) for cell in ("rnn", "gru"))],
    indirect=True,
)
def test_resume(tmp_path, never_stopped, step):
    """Stopped by a signal within an epoch, at its end, after it: as if never stopped, bitwise."""
    cell, straight = never_stopped
    args, stopped = ["--cell", cell, *RESUMED], tmp_path / "stopped"
    end = interrupted(stopped, step, *args)
    assert end == Stopped(step, signal.SIGTERM)
    assert not (stopped / "summary.json").exists()
    runner(stopped, *args, "--resume").fit()
    assert rows(stopped) == rows(straight)
    assert checkpoint_digest(stopped) == checkpoint_digest(straight)
    summaries = [json.loads((p / "summary.json").read_text()) for p in (straight, stopped)]
    assert [s.pop("seconds") > 0 for s in summaries] == [True, True]
    assert summaries[0] == summaries[1]


def test_a_stopped_run_has_a_picture_of_every_row(tmp_path, monkeypatch):
    """Within a run it is not drawn every epoch: these take less time than a picture."""
    seen, draw = [], curves.draw
    monkeypatch.setattr(curves, "draw", lambda path: (seen.append(len(rows(path))), draw(path)))
    # An epoch has 4 steps.
    assert interrupted(tmp_path / "run", 11, "--epochs", "5", "--patience", "5") == Stopped(
        11, signal.SIGTERM
    )
    assert seen == [1, 2]


def test_ctrl_c_keeps_what_was_trained_and_exits_130(tmp_path, capsys):
    path = tmp_path / "run"
    run = runner(path)
    make = run.task.train.train
    pressed = []

    def train(*which):
        if not pressed:
            pressed.append(which)
            os.kill(os.getpid(), signal.SIGINT)
        return make(*which)

    run.task.train.train = train
    assert run.main() == 130
    assert "stopped and saved at step 1; the same command with --resume goes on" in (
        capsys.readouterr().out
    )
    assert Checkpoints(path / "checkpoints").latest() == 1
    assert predict.answer(RunDir(path), "a good film", None).label


def test_a_finished_run_is_not_trained_again(whole):
    before = {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}
    summary = runner(whole, "--resume").fit()
    assert summary == json.loads((whole / "summary.json").read_text())
    assert before == {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--units", "5"], "--units is 5, but this run was started with 4"),
        (["--cell", "gru"], "--cell is gru, but this run was started with lstm"),
        (["--seed", "7"], "--seed is 7, but this run was started with 0"),
        (["--batch-size", "16"], "--batch-size is 16, but this run was started with 32"),
        (["--learning-rate", "0.5"], "--learning-rate is 0.5, but this run was started with 0.01"),
    ],
)
def test_resuming_with_other_settings_is_refused(whole, change, message):
    with pytest.raises(UserError, match=message):
        runner(whole, "--resume", *change).fit()


def test_resuming_with_other_data_is_refused(whole):
    run = runner(whole, "--resume")
    run.task = run.task._replace(dataset="imdb")
    with pytest.raises(UserError, match="trained on sample, and the data is imdb now"):
        run.fit()


def test_all_other_settings_are_said_at_once(whole):
    with pytest.raises(UserError) as caught:
        runner(whole, "--resume", "--units", "5", "--cell", "gru", "--epochs", "9").fit()
    said = str(caught.value)
    assert "--units is 5, but this run was started with 4; --epochs is 9" in said
    assert "--cell is gru, but this run was started with lstm" in said
    assert "schedule (cosine) that ends there: begin a new run from its weights" in said


def test_a_directory_that_holds_a_run_or_something_else_is_refused(tmp_path, whole):
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        runner(whole)
    runner(tmp_path / "new", "--resume")  # as the command of a job has it from the first time on
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".config.json.partial").write_text("{")
    for flags in ((), ("--resume",)):
        runner(tmp_path / "empty", *flags)  # as a kill before the first file leaves it
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("dear")
    for flags in ((), ("--resume",)):
        with pytest.raises(UserError, match="holds other files"):
            runner(tmp_path / "letters", *flags)
    with pytest.raises(UserError, match=r"love.txt is a file; name a directory"):
        runner(tmp_path / "letters" / "love.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "letters"]


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, monkeypatch):
    directory = RunDir(tmp_path)
    first, second = (dict.fromkeys(ROW, n) for n in (1, 2))
    directory.write_rows([first])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be written \(No space left"):
        directory.write_rows([first, second])
    assert rows(tmp_path, seconds=True) == [first]
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["gradients.jsonl", "metrics.jsonl"]


def test_patience_stops_and_the_best_epoch_is_the_one_tested(tmp_path):
    """A learning rate that wrecks a trained net: later epochs are worse, the best one is kept."""
    path = tmp_path / "run"
    run = runner(path, "--epochs", "50", "--patience", "2", "--learning-rate", "0.05",
                 "--schedule", "constant")  # fmt: skip
    summary = run.fit()
    found = rows(path)
    assert len(found) == summary["best_epoch"] + 2
    later = [row["val_accuracy"] for row in found[summary["best_epoch"] :]]
    assert max(later) <= summary["best_val_accuracy"]


def poison(run, steps):
    """Let the inputs of these steps weigh nothing finite."""
    make, made = run.task.train.train, []

    def train(*which):
        made.append(which)
        batch = make(*which)
        bad = len(made) in steps
        weights = np.full_like(batch.examples.weights, np.inf)
        bad_batch = batch._replace(examples=batch.examples._replace(weights=weights))
        return bad_batch if bad else batch

    run.task.train.train = train
    return made


def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(tmp_path):
    run = runner(tmp_path / "run")
    run.params = jax.tree.map(lambda a: a * np.float32(np.nan), run.params)
    with pytest.raises(UserError, match=r"^not finite at step 1: loss nan.*--learning-rate below"):
        run.fit()
    assert Checkpoints(tmp_path / "run" / "checkpoints").latest() is None


def test_it_stops_within_a_step_names_the_examples_and_keeps_the_last_good_one(tmp_path):
    run = runner(tmp_path / "run")
    made = poison(run, {7})  # the third of the second epoch
    with pytest.raises(UserError, match=r"step 7: loss (inf|nan), gradient norm") as caught:
        run.fit()
    assert "\n" not in str(caught.value)
    assert len(made) == 8, "the step after it is under way when its numbers come"
    (line,) = (tmp_path / "run" / "diverged.jsonl").read_text().splitlines()
    batch = runner(tmp_path / "other").task.train.train(*made[6])
    assert json.loads(line)["examples"] == [int(row) for row in batch.rows]
    assert json.loads(line)["learning_rate"] == pytest.approx(0.01 * (1 + np.cos(np.pi / 2)) / 2)
    assert Checkpoints(tmp_path / "run" / "checkpoints").latest() == 4
    assert len(rows(tmp_path / "run")) == 1


def test_batches_that_are_left_out_are_counted_and_capped(tmp_path):
    run = runner(tmp_path / "run", "--on-nan", "skip", "--max-skipped", "2")
    poison(run, {3, 7})
    run.fit()
    found = (tmp_path / "run" / "gradients.jsonl").read_text().splitlines()
    assert [json.loads(line)["skipped"] for line in found] == [1, 2, 2]
    assert all(np.isfinite(json.loads(line)["gradient_norm"]) for line in found)
    assert len((tmp_path / "run" / "diverged.jsonl").read_text().splitlines()) == 2
    run = runner(tmp_path / "capped", "--on-nan", "skip", "--max-skipped", "2")
    poison(run, {2, 3, 4})
    with pytest.raises(UserError, match="3 steps were left out, --max-skipped is 2"):
        run.fit()


def test_a_checkpoint_within_an_epoch_never_leaves_a_bad_step_out(tmp_path):
    """Saved after it, a step that changed nothing would be passed over by --resume, unasked."""
    args = ["--checkpoint-steps", "1"]
    run = runner(tmp_path / "run", *args)
    poison(run, {3})
    for _ in range(2):
        with pytest.raises(UserError, match="not finite at step 3"):
            run.fit()
        assert Checkpoints(tmp_path / "run" / "checkpoints").latest() == 2
        run = runner(tmp_path / "run", "--resume", *args)
        poison(run, {1})


def test_what_was_left_out_before_a_restart_counts(tmp_path):
    args = ["--on-nan", "skip", "--max-skipped", "1", "--checkpoint-steps", "1"]
    run = runner(tmp_path / "run", *args)
    made = poison(run, {2})
    make = run.task.train.train
    run.task.train.train = lambda *w: (
        os.kill(os.getpid(), signal.SIGTERM) if len(made) == 3 else None,
        make(*w),
    )[1]
    assert run.fit() == Stopped(4, signal.SIGTERM)
    run = runner(tmp_path / "run", "--resume", *args)
    poison(run, {1})
    with pytest.raises(UserError, match="2 steps were left out, --max-skipped is 1"):
        run.fit()


def test_a_signal_during_the_last_evaluation_stops_too(tmp_path):
    run = runner(tmp_path / "run", "--epochs", "1")
    evaluate = run.evaluate
    run.evaluate = lambda *of: (os.kill(os.getpid(), signal.SIGTERM), evaluate(*of))[1]
    assert run.fit() == Stopped(4, signal.SIGTERM)
    assert not (tmp_path / "run" / "summary.json").exists()
    assert runner(tmp_path / "run", "--epochs", "1", "--resume").fit()["best_epoch"] == 1


@pytest.mark.parametrize("rate", [1e6, 1e38])
def test_a_learning_rate_beyond_reason_leaves_no_bad_checkpoint(tmp_path, rate):
    """Past the parser, which refuses it; 1e6 may stay finite, 1e38 cannot."""
    with pytest.raises(
        UserError, match=r"--learning-rate is .*; give a number above 0 and at most"
    ):
        runner(tmp_path / "never", "--learning-rate", str(rate))
    flags = ["--run-dir", str(tmp_path / "run"), "--units", "4", "--embedding", "3",
             "--max-length", "8", "--batch-size", "32", "--epochs", "1"]  # fmt: skip
    settings = parse(Settings, flags)
    training = dataclasses.replace(settings.training, learning_rate=rate)
    settings = dataclasses.replace(settings, training=training)
    run = Runner(imdb.task(settings, TEXT), settings, RunDir(tmp_path / "run"), Screen())
    if rate == 1e38:
        with pytest.raises(UserError, match=r"not finite at step 1: .*learning rate 1e\+38"):
            run.fit()
    else:
        run.fit()
        like = run.steps.init(run.params)._asdict()
        _, arrays, _ = run.checkpoints.restore_newest(like, print)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(arrays))


def test_any_name_of_a_directory_will_do(tmp_path):
    """And one that is reached through a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    path = tmp_path / "link" / "a ü\N{GRINNING FACE}\n%20#?*'\"${x}|:,&"
    assert interrupted(path, 5, "--epochs", "2") == Stopped(5, signal.SIGTERM)
    assert runner(path, "--epochs", "2", "--resume").fit()["dataset"] == "sample"
    assert predict.answer(RunDir(path), "a film", None).label


@pytest.mark.parametrize("name", ["[x]", "a\\b", "\udcff", "gs:"])
def test_a_name_that_orbax_cannot_write_under_is_refused_before_the_training(tmp_path, name):
    with pytest.raises(UserError, match=r"in its whole name.*; name another directory"):
        runner(tmp_path / name)
    with pytest.raises(UserError, match="cannot save step 1"):
        Checkpoints(tmp_path / name / "checkpoints").save(1, {"x": np.ones(3)}, {}, score=None)


def test_debug_nans_is_one_line(tmp_path):
    run = runner(tmp_path / "run", "--debug-nans")
    poison(run, {2})
    with pytest.raises(UserError, match="--debug-nans: "):
        run.fit()


def test_a_second_run_in_one_directory_is_told_who_holds_it(tmp_path):
    path = tmp_path / "run"
    first, second = runner(path), runner(path)
    refused = []
    make = first.task.train.train

    def train(*which):
        if not refused:
            with pytest.raises(UserError) as caught:
                second.fit()
            refused.append(str(caught.value))
        return make(*which)

    first.task.train.train = train
    first.fit()
    assert f"{path} is in use by process {os.getpid()} on " in refused[0]
    assert "name another directory" in refused[0]


def test_a_lock_of_a_dead_process_is_taken_over(tmp_path):
    path = tmp_path / "run"
    code = (
        "import os, pathlib, signal, sys; from experiments.runs.lock import DirectoryLock\n"
        "with DirectoryLock(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    path.mkdir()
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (path / ".lock-holder").exists()
    assert runner(path).fit()["dataset"] == "sample"
    assert not list(path.glob(".*"))


def test_other_versions_are_said_and_no_reason_to_refuse(tmp_path, capsys):
    path = tmp_path / "run"
    interrupted(path, 2)
    config = json.loads((path / "config.json").read_text())
    config["versions"]["jax"] = "0.1"
    (path / "config.json").write_text(json.dumps(config))
    runner(path, "--resume").fit()
    said = " ".join(capsys.readouterr().out.split())
    assert "jax: 0.1 when this run was started" in said
    assert "order and keys are the same" in said


def test_a_checkpoint_every_so_many_steps(tmp_path, monkeypatch):
    saved, save = [], Checkpoints.save

    def noted(checkpoints, step, *args, **more):
        saved.append(step)
        save(checkpoints, step, *args, **more)

    monkeypatch.setattr(Checkpoints, "save", noted)
    runner(tmp_path / "run", "--checkpoint-steps", "3").fit()
    assert saved == [3, 4, 7, 8, 11, 12]


def test_a_config_reproduces_its_run(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("experiments.data.reviews.load_text", lambda *_: TEXT)
    args = ["--config", str(whole / "config.json"), "--run-dir", str(tmp_path / "run")]
    assert imdb.main(args) == 0
    assert rows(tmp_path / "run") == rows(whole)
    for wrong, message in (
        (str(tmp_path / "none.json"), "cannot be read"),
        (str(tmp_path / "mnist.json"), "is of a run of mnist; this is experiments.imdb"),
        (str(tmp_path / "list.json"), "is no config.json of a run"),
        (str(tmp_path / "bad.json"), "--units is -3; give a number at least 1"),
    ):
        (tmp_path / "mnist.json").write_text('{"task": "mnist", "settings": {}}')
        (tmp_path / "list.json").write_text("[1]")
        (tmp_path / "bad.json").write_text('{"task": "imdb", "settings": {"units": -3}}')
        with pytest.raises(UserError, match=message):
            imdb.main(["--config", wrong, "--run-dir", str(tmp_path / "never")])
    assert not (tmp_path / "never").exists()


def test_evaluation_counts_every_example_once_whatever_the_batch_size(whole, tmp_path):
    sums = []
    for size in ("1", "7", "50", "64"):
        run = runner(tmp_path / size, "--batch-size", size)
        like = {"params": run.params}
        _, arrays, _ = Checkpoints(whole / "checkpoints").restore_best(like, print)
        sums.append(run.evaluate(arrays["params"], run.task.test))
    assert {accuracy for _, accuracy in sums} == {sums[0][1]}
    # Means of 50 float32 losses, summed in another order.
    np.testing.assert_allclose([loss for loss, _ in sums], sums[0][0], rtol=1e-6)
