"""Deletes, moves, edits and gives to another the directory of a run that trains."""

import json
import shutil

import pytest
from small_run import checkpoint_digest, rows, runner

from experiments.config.cli import UserError
from experiments.plots import curves
from experiments.predict.text import answer
from experiments.runs.directory import RunDir
from experiments.runs.results import load


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    runner(path).fit()
    return path


def disturbed(path, disturb, *args, epoch=1):
    """A run to whose directory something is done at the first step of an epoch."""
    run, done = runner(path, *args), []
    make = run.task.train.train

    def train(seed, at, step):
        if at == epoch and not done:
            done.append(disturb())
        return make(seed, at, step)

    run.task.train.train = train
    return run


def files(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_another_run_in_its_place_is_left_alone(tmp_path, whole):
    """`rm -rf RUN`, and a new run in the same directory, while the old one trains."""
    path, there = tmp_path / "run", {}

    def disturb():
        shutil.rmtree(path)
        runner(path, "--units", "5").fit()
        there.update(files(path))

    with pytest.raises(UserError) as caught:
        disturbed(path, disturb).fit()
    kept = tmp_path / "run-kept"
    assert str(caught.value) == (
        f"{path} holds another run, begun while this one trained; this one stops at step 8 and "
        f"is saved: go on with --resume {kept}"
    )
    assert files(path) == there
    assert load(path).config["settings"]["units"] == 5
    summary = runner(kept, "--resume").fit()
    assert (
        summary["test_accuracy"]
        == json.loads((whole / "summary.json").read_text())["test_accuracy"]
    )
    assert checkpoint_digest(kept) == checkpoint_digest(whole)


def test_another_run_of_the_same_settings_is_another_run(tmp_path):
    path = tmp_path / "run"

    def disturb():
        shutil.rmtree(path)
        runner(path).fit()

    with pytest.raises(UserError, match="holds another run, begun while this one trained"):
        disturbed(path, disturb).fit()


def test_another_run_that_still_trains_keeps_its_lock(tmp_path):
    path, outer = tmp_path / "run", []

    def replace():
        shutil.rmtree(path)

        def end_the_first():
            with pytest.raises(UserError, match="holds another run"):
                run.store.save(*outer)
            run.store.lock.__exit__(None, None, None)
            assert (path / ".lock").exists()

        inner = disturbed(path, end_the_first)
        outer.extend((run.steps.init(run.params), [], 0.0))
        inner.fit()
        assert load(path).summary

    run = disturbed(path, replace)
    with pytest.raises(UserError, match="holds another run"):
        run.fit()


@pytest.mark.parametrize("how", ["deleted", "moved", "emptied"])
def test_a_directory_that_is_gone_is_made_anew(tmp_path, whole, capsys, how):
    path, away = tmp_path / "run", tmp_path / "away"

    def disturb():
        if how == "moved":
            path.rename(away)
            return
        shutil.rmtree(path)
        if how == "emptied":
            path.mkdir()

    disturbed(path, disturb).fit()
    assert "was deleted or moved while this run trained; it is made anew" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert rows(path) == rows(whole)
    assert checkpoint_digest(path) == checkpoint_digest(whole)
    assert answer(RunDir(path), "a good film", None).label
    assert not list(path.glob(".*"))
    if how == "moved":
        assert runner(away, "--resume").fit()["dataset"] == "sample"
        assert rows(away) == rows(whole)


@pytest.mark.parametrize("epoch", [2, 3])
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_directory_that_goes_while_its_picture_is_drawn(tmp_path, whole, capsys, how, epoch):
    """That takes longer than an epoch of a small run; after the last one, too."""
    path, away = tmp_path / "run", tmp_path / "away"
    run = runner(path)
    draw = run.picture.draw

    def disturbed_draw(now):
        if len(run.rows) == epoch:
            shutil.rmtree(path) if how == "deleted" else path.rename(away)
            run.picture.drawn = float("-inf")
        draw(now)

    run.picture.draw = disturbed_draw
    summary = run.fit()
    assert "was deleted or moved while this run trained; it is made anew" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert rows(path) == rows(whole)
    assert checkpoint_digest(path) == checkpoint_digest(whole)
    assert summary["test_accuracy"] == load(path).summary["test_accuracy"]


def test_another_run_that_came_while_the_picture_was_drawn_is_left_alone(tmp_path):
    path, there = tmp_path / "run", {}
    run = runner(path)

    def draw(now):
        shutil.rmtree(path)
        runner(path, "--units", "5").fit()
        there.update(files(path))
        raise UserError("the picture cannot be drawn")

    run.picture.draw = draw
    with pytest.raises(UserError, match="holds another run, begun while this one trained"):
        run.fit()
    assert files(path) == there


def test_a_file_in_its_place_is_left_alone(tmp_path, whole):
    path, kept = tmp_path / "run", tmp_path / "run-kept"

    def disturb():
        shutil.rmtree(path)
        path.write_text("mine")

    with pytest.raises(UserError) as caught:
        disturbed(path, disturb).fit()
    assert str(caught.value) == (
        f"{path} has become a file while this one trained; this one stops at step 8 and is saved: "
        f"go on with --resume {kept}"
    )
    assert path.read_text() == "mine"
    runner(kept, "--resume").fit()
    assert checkpoint_digest(kept) == checkpoint_digest(whole)


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "run")
    with pytest.raises(UserError) as caught:
        runner(tmp_path / "run")
    assert str(caught.value) == (
        f"--run-dir {tmp_path}/run is a link to {tmp_path}/disk/run, which is not there; make it"
    )


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_config_that_is_gone_or_edited_is_written_again(tmp_path, capsys, text):
    path, config = tmp_path / "run", []

    def disturb():
        file = path / "config.json"
        config.append(file.read_bytes())
        file.unlink()
        if text is not None:
            file.write_text(text)

    disturbed(path, disturb).fit()
    assert (path / "config.json").read_bytes() == config[0]
    assert "config.json was deleted or changed; it is written again" in (
        " ".join(capsys.readouterr().out.split())
    )
    assert answer(RunDir(path), "a good film", None).label


def test_a_result_is_not_written_where_the_run_is_not(tmp_path):
    path = tmp_path / "run"
    run = runner(path)
    evaluate, away = run.evaluate, tmp_path / "away"

    def last(params, part):
        if part is run.task.test:
            path.rename(away)
        return evaluate(params, part)

    run.evaluate = last
    with pytest.raises(UserError, match="was deleted or moved after the last epoch; the result is"):
        run.fit()
    assert not path.exists()
    assert runner(away, "--resume").fit()["best_epoch"]


# --- the readers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "other"
    runner(path, "--cell", "gru", "--seed", "3").fit()
    return path


@pytest.mark.parametrize("file", ["config.json", "metrics.jsonl", "summary.json", "checkpoints"])
def test_files_of_two_runs_are_told_by_every_reader(tmp_path, whole, other, file):
    mixed = tmp_path / "mixed"
    shutil.copytree(whole, mixed)
    (shutil.rmtree if file == "checkpoints" else lambda path: path.unlink())(mixed / file)
    (shutil.copytree if file == "checkpoints" else shutil.copy)(other / file, mixed / file)
    if file == "metrics.jsonl":
        (mixed / "summary.json").unlink()  # which would tell, too
    from experiments import checkpoint, plot
    from experiments.report import __main__ as report

    for reader in (
        lambda: report.main([str(mixed)]),
        lambda: plot.main([str(mixed)]),
        lambda: checkpoint.main(["verify", str(mixed)]),
        lambda: curves.draw(mixed),
    ):
        with pytest.raises(UserError, match=r"belongs? together|put the right back"):
            reader()


def test_a_finished_run_without_its_rows_gets_them_back(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    for name in ("metrics.jsonl", "gradients.jsonl", "curves.png"):
        (path / name).unlink()
    assert runner(path, "--resume").main() == 0
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (path / name).read_bytes() == (whole / name).read_bytes()
    assert (path / "curves.png").read_bytes().startswith(b"\x89PNG")


# --- more epochs -----------------------------------------------------------------------------


def test_at_a_constant_rate_a_finished_run_goes_on_for_more_epochs(tmp_path):
    constant = ("--schedule", "constant", "--patience", "9")
    short, long = tmp_path / "short", tmp_path / "long"
    runner(short, *constant, "--epochs", "2").fit()
    summary = runner(short, *constant, "--epochs", "4", "--resume").fit()
    expected = runner(long, *constant, "--epochs", "4").fit()
    del summary["seconds"], expected["seconds"]
    assert summary == expected
    assert rows(short) == rows(long)
    assert checkpoint_digest(short) == checkpoint_digest(long)
    assert load(short).config["settings"]["epochs"] == 4
    with pytest.raises(UserError, match="--epochs is 3, but this run was started with 4"):
        runner(short, *constant, "--epochs", "3", "--resume").fit()
