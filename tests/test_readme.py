"""The README tells the truth: its code runs, its commands and files exist."""

import re

import jax
import numpy as np
import pytest
from root import ROOT

import jaxrnn

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
    assert names["summary"].shape == (8, 64)
    # Both loops of many devices took one step of descent each on the whole batch's mean.
    params = jaxrnn.init(jax.random.key(0), names["cell"], 32, 64)
    value = None
    for _ in range(2):
        value, gradient = jax.value_and_grad(names["loss"])(params, names["xs"], names["lengths"])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    # float32 means over 8 shards instead of one batch.
    np.testing.assert_allclose(names["value"], value, rtol=1e-5)
    for found, expected in zip(names["params"], params, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"experiments\.(\w+)", README))))
def test_commands_exist(command):
    place = ROOT / "experiments" / command
    assert place.with_suffix(".py").exists() or (place / "__main__.py").exists()


@pytest.mark.parametrize("file", re.findall(r"\]\(((?!http)[^)]+)\)", README))
def test_links_lead_somewhere(file):
    assert (ROOT / file).exists()


def test_ci_runs_the_readmes_test_command():
    assert "test-command" in (ROOT / ".ci" / "run").read_text()
    assert re.search(r"<!-- test-command -->\n```sh\n.*pytest\n```", README)
