"""What a person sees; and a training that goes on when nobody can be told."""

import io
import sys

import pytest
from small_run import runner

from experiments.training.progress import Screen


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
