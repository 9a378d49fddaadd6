"""Training from Python: the same run as by the command, and curves that grow in a notebook."""

import sys
import threading
import types
from pathlib import Path

import pytest
from small_run import TEXT, checkpoint_digest, rows, runner

from experiments import imdb
from experiments.config.cli import UserError
from experiments.training.notebook import arguments

SMALL = {"units": 4, "embedding": 3, "max_length": 8, "batch_size": 32, "epochs": 3,
         "learning_rate": 0.01}  # fmt: skip


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr("experiments.data.reviews.load_text", lambda *_: TEXT)


@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_it_is_the_run_of_the_command(tmp_path, thread):
    """A notebook's kernel may call from any thread; signals belong to the main one."""
    path, results = tmp_path / "run", []

    def train():
        results.append(imdb.fit(run_dir=str(path), **SMALL))

    if thread:
        worker = threading.Thread(target=train)
        worker.start()
        worker.join()
    else:
        train()
    (run,) = results
    runner(tmp_path / "same").fit()
    assert checkpoint_digest(path) == checkpoint_digest(tmp_path / "same")
    assert [row["val_loss"] for row in run.rows] == [row["val_loss"] for row in rows(path)]
    assert run.summary["best_epoch"] >= 1
    with pytest.raises(UserError, match="already holds a run; add --resume"):
        imdb.fit(run_dir=str(path), **SMALL)
    assert imdb.fit(run_dir=str(path), resume=True, **SMALL).rows == run.rows


def test_several_seeds_are_several_runs(tmp_path):
    with pytest.raises(UserError, match="--seeds makes several runs; call fit once for each"):
        imdb.fit(run_dir=str(tmp_path / "run"), seeds="0,1", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_settings_become_the_flags_that_say_the_same():
    values = {"cell": "gru", "bidirectional": True, "pixels": False, "devices": None, "units": 3}
    assert arguments(values) == ["--cell", "gru", "--bidirectional", "--no-pixels", "--units", "3"]


def test_curves_grow_in_a_notebook(tmp_path, monkeypatch):
    shown = []

    class ZMQInteractiveShell:
        pass

    class Image:
        def __init__(self, filename):
            self.content = Path(filename).read_bytes()

    class Handle:
        def update(self, image):
            shown.append(("updated", image.content))

    def display(image, *, display_id):
        shown.append(("shown", image.content))
        return Handle()

    ipython = types.ModuleType("IPython")
    ipython.get_ipython, ipython.version_info = ZMQInteractiveShell, (9, 0)  # matplotlib asks, too
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.Image, ipython.display.display = Image, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    monkeypatch.setattr("experiments.plots.curves.LivePicture.SECONDS", -1)
    imdb.fit(run_dir=str(tmp_path / "run"), **SMALL)
    assert [how for how, _ in shown] == ["shown", "updated", "updated", "updated"]
    assert shown[-1][1] == (tmp_path / "run" / "curves.png").read_bytes()
    assert len({content for _, content in shown}) == 4


def test_a_run_is_shown_in_a_line(tmp_path):
    """And not as all its settings, which fill the screen."""
    run = imdb.fit(run_dir=str(tmp_path / "run"), **SMALL)
    best = max(run.rows, key=lambda row: row["val_accuracy"])
    assert repr(run) == (
        f"Loaded(run: best validation accuracy {best['val_accuracy']:.2%} in epoch "
        f"{best['epoch']} of 3, test accuracy {run.summary['test_accuracy']:.2%}; "
        ".config, .rows, .summary, .path)"
    )
