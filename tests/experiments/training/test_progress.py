"""What a person sees; and a training that goes on when nobody can be told."""

import io
import sys

import pytest
from small_run import runner

from experiments.training import progress
from experiments.training.progress import Pace, Screen


class Full(io.StringIO):
    """A standard output that takes so many characters, as a full disk or a reader that leaves."""

    left = 0

    def write(self, text):
        Full.left -= len(text)
        if Full.left < 0:
            raise BrokenPipeError
        return len(text)

    def flush(self):
        if Full.left < 0:
            raise BrokenPipeError


@pytest.mark.parametrize("left", [0, 10, 600])
def test_a_training_goes_on_when_its_output_goes_nowhere(tmp_path, monkeypatch, left):
    monkeypatch.setattr(Full, "left", left)
    monkeypatch.setattr(sys, "stdout", Full())
    run = runner(tmp_path / "run", "--epochs", "1")
    assert run.main() == 0
    assert Full.left < 0
    assert (tmp_path / "run" / "summary.json").exists()


def test_names_from_elsewhere_send_no_control_characters(capsys):
    Screen().say("jax: \x1b[31m0.1\x07 when\nthis run")
    assert capsys.readouterr().out == "jax: \\x1b[31m0.1\\x07 when\nthis run\n"


def row(epoch):
    numbers = {"train_loss": 0.51234, "train_accuracy": 1.0, "val_loss": 10.5, "val_accuracy": 0.5}
    return {"epoch": epoch, **numbers, "seconds": 1234.56}


@pytest.mark.parametrize("epochs", [9, 100])
def test_rows_fit_sixty_columns_and_say_once_what_they_are(capsys, epochs):
    screen = Screen()
    for epoch in (1, 2):
        screen.row(row(epoch), epochs, best=epoch == 2)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["training", "validation"]
    assert lines[1].split() == ["epoch", "loss", "accuracy", "loss", "accuracy", "seconds"]
    assert lines[3].split() == [f"2/{epochs}", "0.5123", "100.00%", "10.5000", "50.00%", "1234.6",
                                "best"]  # fmt: skip
    for heading, number in (("loss", "0.5123"), ("seconds", "1234.6")):
        end = lines[1].index(heading) + len(heading)
        assert lines[2][:end].endswith(number)


def test_the_time_left_leaves_out_what_compiled(monkeypatch):
    """Steps of each padded length compile once, anywhere in an epoch."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    pace = Pace()
    assert pace.seconds() is None
    for seconds in (20.0, 0.1, 0.2, 0.1, 15.0, 0.2, 0.1, 0.2):
        clock[0] += seconds
        pace.step()
    assert pace.seconds() == pytest.approx(0.15)


def test_a_run_says_what_runs_it_and_what_to_do_next(tmp_path, capsys):
    run = runner(tmp_path / "run", "--epochs", "1")
    assert run.main() == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "engine=native" in said or "engine=scan" in said
    assert "Generated reviews" in said
    assert f"ask it: python -m experiments.predict {tmp_path / 'run'}" in said
