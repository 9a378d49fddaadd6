"""Runs that an earlier version left: every command still reads them, and one can be continued.

`old_runs/` was written by jaxrnn 0.1.0 before the experiments had rooms:

    python -m experiments.imdb --data sample --cell gru --units 3 --embedding 3 --vocabulary 120
        --epochs 2 --max-length 40 --batch-size 512 --run-dir runs/imdb
    python -m experiments.mnist --data sample --cell rnn --units 3 --epochs 1 --examples 500
        --run-dir runs/mnist

Its pictures and the answers to the test images were deleted, as was the older checkpoint.
"""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from root import ROOT

from experiments import checkpoint, export, imdb, plot
from experiments.data.images import load_images
from experiments.predict import __main__ as predict
from experiments.report import __main__ as report

OLD = ROOT / "tests" / "experiments" / "runs" / "old_runs"
IMDB = ["--data", "sample", "--cell", "gru", "--units", "3", "--embedding", "3", "--vocabulary",
        "120", "--epochs", "2", "--max-length", "40", "--batch-size", "512"]  # fmt: skip


@pytest.fixture(params=["imdb", "mnist"])
def run(request, tmp_path):
    return shutil.copytree(OLD / request.param, tmp_path / request.param)


def test_its_checkpoints_are_good(run, capsys):
    assert checkpoint.main(["verify", str(run)]) == 0
    assert "the best" in capsys.readouterr().out


def test_its_curves_are_drawn_and_it_is_reported(run, capsys):
    plot.main([str(run)])
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    report.main([str(run)])
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['test_accuracy']:.4f}" in capsys.readouterr().out


def test_it_answers_as_it_did(tmp_path, capsys):
    predict.main([str(OLD / "imdb"), "My sister said that it was gripping and funny."])
    assert capsys.readouterr().out == "positive  53.2%\n"
    digit = load_images("sample", None, print).test.pixels[0]
    Image.fromarray(np.asarray(digit)).save(tmp_path / "digit.png")
    predict.main([str(OLD / "mnist"), str(tmp_path / "digit.png")])
    assert capsys.readouterr().out.splitlines()[0].endswith("%")


def test_it_is_exported(run):
    export.main([str(run)])
    export.main([str(run), "--check"])


def test_its_command_finishes_it_again(tmp_path):
    """Without its summary: the same data, the same checkpoint, the same result."""
    run = shutil.copytree(OLD / "imdb", tmp_path / "run")
    before = json.loads((run / "summary.json").read_text())
    (run / "summary.json").unlink()
    assert imdb.main([*IMDB, "--run-dir", str(run), "--resume"]) == 0
    after = json.loads((run / "summary.json").read_text())
    for name, value in before.items():
        # Sums of 2,000 losses in float32, in another order on another machine.
        assert after[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5))
