"""The README tells the truth: its code runs, its commands and files exist."""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_blocks_run_one_after_the_other():
    names = {}
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    assert names["hs"].shape == (8, 100, 64)
    assert names["value"] > 0
    assert all(jax.numpy.isfinite(leaf).all() for leaf in jax.tree.leaves(names["gradient"]))
    assert names["values"].shape == (5,)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"experiments\.(\w+)", README))))
def test_commands_exist(command):
    assert (ROOT / "experiments" / f"{command}.py").exists()


@pytest.mark.parametrize("file", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_links_lead_somewhere(file):
    assert (ROOT / file).exists()


def test_ci_runs_the_readmes_test_command():
    assert "test-command" in (ROOT / ".ci" / "run").read_text()
    assert re.search(r"<!-- test-command -->\n```sh\n.*pytest\n```", README)
