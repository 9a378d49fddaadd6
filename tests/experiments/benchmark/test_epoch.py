"""Epochs: the scripts train one model on the same reviews, and rows are what they printed."""

import pytest

from experiments.benchmark import __main__ as benchmark
from experiments.benchmark import epoch
from experiments.config.cli import UserError


def test_an_epochs_rows_are_its_files():
    lines = 'a warning\n{"epoch": 1, "seconds": 9.0, "val_accuracy": 0.8}\n'
    lines += '{"epoch": 2, "seconds": 3.0, "val_accuracy": 0.9, "more": 1}\n'
    epochs = epoch.parsed(lines)
    runs = {
        "jaxrnn": [{"epochs": epochs, "command_seconds": 20.0}],
        "torch-packed": [{"epochs": epochs[:1], "command_seconds": 30.0}],
    }
    mine, torch = epoch.rows(runs)
    assert mine == {
        "script": "jaxrnn", "seconds per epoch": 3.0, "first epoch": 9.0, "whole command": 20.0,
        "best validation accuracy": 0.9, "times ours": 1.0,
    }  # fmt: skip
    assert torch["times ours"] == 3.0  # an only epoch stands for the later ones


def tiny_script(name):
    """A script's epoch on 40 generated reviews of 6 words, in one thread."""
    script = epoch.SCRIPTS[name]
    args = (*script.args, "--reviews", "40", "--max-length", "6")
    settings = benchmark.Epoch(data="sample", epochs=1)
    return epoch.one_run(script._replace(args=args), settings, 1)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # Embedding of 10,000 by 32, LSTM(32), one output: the tutorial's model.
        ("keras-jax", 328_353),
        pytest.param("keras-tf", 328_353, marks=pytest.mark.slow),
        # PyTorch's LSTM has a second bias.
        pytest.param("torch-packed", 328_353 + 128, marks=pytest.mark.slow),
        pytest.param("torch-padded", 328_353 + 128, marks=pytest.mark.slow),
    ],
)
def test_scripts_train_the_tutorials_model(name, parameters):
    found = tiny_script(name)
    (row,) = found["epochs"]
    assert row["parameters"] == parameters
    assert 0 < row["seconds"] < found["command_seconds"]
    assert 0 <= row["val_accuracy"] <= 1


def test_a_script_that_fails_says_its_last_line():
    script = epoch.SCRIPTS["keras-jax"]._replace(args=("--backend", "mxnet"))
    with pytest.raises(UserError, match=r"imdb_keras ended with status 2: error: .*mxnet"):
        epoch.one_run(script, benchmark.Epoch(data="sample"), 1)
