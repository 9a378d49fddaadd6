"""Ctrl-C at any moment of a command, and a command that lacks a package."""

import os
import signal
import subprocess
import sys

import pytest
from root import ROOT

from experiments.config import begin

# Runs a command as `python -m` does, and does something when it imports a module.
COMMAND = """
import os, runpy, signal, sys

class Meet:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            sys.meta_path.remove(self)
            ACTION

MODULE, command, *arguments = sys.argv[1:]
sys.argv = ["-m", *arguments]  # as Python has it until the module is found
sys.meta_path.insert(0, Meet())
runpy.run_module(command, run_name="__main__", alter_sys=True)
"""
PRESS = COMMAND.replace("ACTION", "os.kill(os.getpid(), signal.SIGINT)")
# As where a callback of C was running: Python drops what is raised in a destructor.
DROP = COMMAND.replace(
    "ACTION",
    """
            class Dying:
                def __del__(self):
                    os.kill(os.getpid(), signal.SIGINT)
            Dying()""",
)
LACK = COMMAND.replace("ACTION", "raise ModuleNotFoundError(f'No module named {name}', name=name)")


def ended(code, *args):
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("code", [PRESS, DROP], ids=["raised", "dropped"])
@pytest.mark.parametrize("module", ["tyro", "jax", "flax.nnx", "optax"])
def test_ctrl_c_while_a_command_is_imported(tmp_path, module, code):
    """In these seconds a KeyboardInterrupt was often lost, or a traceback."""
    args = ("experiments.imdb", "--data", "sample", "--run-dir", tmp_path / "run")
    assert ended(code, module, *args) == (130, "", "interrupted\n")
    assert not (tmp_path / "run").exists()


def test_ctrl_c_while_jax_computes(tmp_path):
    """jax's threads went on while Python ended under them: a segmentation fault."""
    command = [sys.executable, "-m", "experiments.memory", "span", "--out", tmp_path / "span"]
    small = ["--tasks", "adding", "--cells", "rnn", "--lengths", "10", "1000", "--steps", "10000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*command, *small], cwd=ROOT, text=True, **pipes)
    assert "lag   10" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert (tmp_path / "span" / "results.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("module", "command"),
    [("tyro", f"experiments.{name}") for name in ("imdb", "mnist", "memory", "predict", "export",
     "report", "data", "plot", "checkpoint", "benchmark")]
    + [("matplotlib", "experiments.plot"), ("optax", "experiments.imdb"),
       ("jax", "experiments.memory")],
)  # fmt: skip
def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, module, command):
    args = ["--data", "sample", "--run-dir", tmp_path] if command.endswith("imdb") else []
    status, said, errors = ended(LACK, module, command, *args)
    assert (status, said) == (2, "")
    assert errors == (
        f"error: {module} is not installed; pip install -e '.[experiments]' installs all that the "
        "commands need\n"
    )


def test_a_ctrl_c_that_python_drops_is_raised_when_the_block_ends(monkeypatch):
    class Dying:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    steps = []

    def work():
        with begin.unwinding():
            Dying()
            steps.append(begin.was_dropped())

    before = signal.signal(signal.SIGINT, begin._leave)
    monkeypatch.setattr(sys, "unraisablehook", begin._without_interrupts)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(signal.SIGINT) is begin._leave
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == [True]
