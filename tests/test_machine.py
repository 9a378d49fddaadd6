"""What a figure was measured on."""

import os
import platform

import jax
import pytest

from experiments import machine


def test_the_machine_names_its_processor_and_cores(monkeypatch):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert machine.machine().endswith(f", {cores} core{'s' if cores > 1 else ''}")
    assert len(machine.machine()) > len(", 2 cores")


@pytest.mark.parametrize("text", ["", "model name\n", "processor : 0\n"])
def test_an_unknown_processor_is_called_by_its_architecture(monkeypatch, text):
    monkeypatch.setattr(machine.Path, "read_text", lambda path: text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert machine.machine().startswith(platform.machine())


def test_versions_are_those_that_run():
    found = machine.versions()
    assert found["jax"] == jax.__version__
    assert found["python"] == platform.python_version()
