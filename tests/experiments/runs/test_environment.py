"""What a figure was measured on."""

import os
import platform

import jax
import pytest

from experiments.runs import environment


def test_the_machine_names_its_processor_and_cores(monkeypatch):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert environment.machine().endswith(f", {cores} core{'s' if cores > 1 else ''}")
    assert len(environment.machine()) > len(", 2 cores")


@pytest.mark.parametrize("text", ["", "model name\n", "processor : 0\n"])
def test_an_unknown_processor_is_called_by_its_architecture(monkeypatch, text):
    monkeypatch.setattr(environment.Path, "read_text", lambda path: text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert environment.machine().startswith(platform.machine())


def test_versions_are_those_that_run():
    found = environment.versions()
    assert found["jax"] == jax.__version__
    assert found["python"] == platform.python_version()
