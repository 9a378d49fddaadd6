"""The page on compositions tells the truth: its code runs, and computes what it says."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from root import ROOT
from tables import assert_close, random_xs

import jaxrnn

PAGE = (ROOT / "docs" / "compositions.md").read_text()


@pytest.fixture(scope="module")
def page():
    """What the blocks define, run one after the other; the first `params` kept apart."""
    names = {}
    for n, block in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
        exec(compile(block, "compositions.md", "exec"), names)
        if n == 0:
            names["first_params"] = names["params"]
    return names


def arguments(page, steps=12):
    xs, targets = (random_xs(seed, batch=(steps,), steps=3, inputs=32) for seed in (1, 5))
    return page["first_params"], xs, targets  # [T, B, features]


@pytest.mark.parametrize("size", [1, 3, 12])
def test_rematerialisation_changes_no_gradient(page, size):
    args = arguments(page)
    # Means of 1000 squares, added chunk by chunk: float32 rounding.
    assert_close(page["rematerialised"](*args, size), page["plain"](*args), 1e-6)


def test_truncation_by_hand(page):
    """A Python loop over chunks, each one's gradient with the state before as a constant."""
    params, xs, targets = arguments(page)
    value, gradient = page["truncated"](params, xs, targets, 3)
    state, gradients = None, []
    for start in range(0, 12, 3):
        part = slice(start, start + 3)

        def loss(params, state=state, part=part):
            after, hs = jaxrnn.unroll(jaxrnn.LSTM, params, xs[part], state, time_major=True)
            return jnp.mean((hs - targets[part]) ** 2), after

        part_gradient, state = jax.grad(loss, has_aux=True)(params)
        gradients.append(part_gradient)
    expected = jax.tree.map(lambda *g: sum(g) / 4, *gradients)
    whole_value, whole_gradient = page["plain"](params, xs, targets)
    assert_close(gradient, expected, 1e-6)
    assert_close(value, whole_value, 1e-6)
    assert np.abs(np.asarray(gradient.wh - whole_gradient.wh)).max() > 1e-4, "nothing was cut off"
    assert_close(page["truncated"](params, xs, targets, 12), (whole_value, whole_gradient), 1e-6)


def test_memory_is_as_the_page_says(page):
    """Within a third, as compilers differ between versions; and far below the plain gradient."""
    table = {k: float(v) for k, v in re.findall(r"\| `(\w+)`[^|]*\| ([\d.]+) \|", PAGE)}
    assert set(table) == set(page["memory"])
    for name, megabytes in page["memory"].items():
        assert megabytes == pytest.approx(table[name], rel=0.33), page["memory"]
    assert page["memory"]["rematerialised"] < page["memory"]["plain"] / 10
    assert page["memory"]["truncated"] < page["memory"]["plain"] / 10


def test_the_loops_on_devices_are_two_steps_of_one(page):
    """Both loops of the page made two steps of gradient descent each, on inputs of ones."""
    params, ones = page["first_params"], jnp.ones((4, 20, 32))
    for _ in range(4):
        value, gradient = jax.value_and_grad(page["loss"])(params, ones, ones)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    assert_close(page["params"], params, 1e-5)
    assert_close(page["value"], value, 1e-5)
