"""A network asked step by step says after each step what it says of the steps so far."""

import itertools

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.config.settings import Model
from experiments.models import stepping
from experiments.models.build import build

CELLS, READOUTS = ("rnn", "lstm", "gru", "none"), ("last", "mean", "max", "mean-max")


def network(cell, readout, *, vocabulary=None, bigrams=0, **options):
    model = Model(cell=cell, units=4, readout=readout, **options)
    made = build(model, 0, features=5, vocabulary=vocabulary, bigrams=bigrams, classes=3)
    graph, params = nnx.split(made)
    rng = np.random.default_rng(0)
    return nnx.merge(
        graph, jax.tree.map(lambda a: rng.normal(0, 0.5, a.shape).astype("float32"), params)
    )


def assert_steps(made, xs):
    states, take = stepping.first_states(made, len(xs)), jax.jit(stepping.step)
    for array in states.values():
        np.testing.assert_array_equal(array, 0)
    for t in range(xs.shape[1]):
        states, logits = take(made, states, xs[:, t])
        expected = made(xs, np.full(len(xs), t + 1, np.int32))
        np.testing.assert_allclose(logits, expected, atol=5e-6, rtol=5e-6)


@pytest.mark.parametrize(("cell", "readout"), list(itertools.product(CELLS, READOUTS)))
def test_texts(cell, readout):
    options = {} if cell == "none" else {"layers": 2}
    made = network(cell, readout, vocabulary=50, bigrams=11, hidden=6, members=2, **options)
    assert_steps(made, np.random.default_rng(1).integers(0, 50, (3, 6)).astype(np.int32))


@pytest.mark.parametrize("cell", CELLS[:3])
def test_images(cell):
    xs = np.random.default_rng(1).normal(size=(3, 6, 5)).astype(np.float32)
    assert_steps(network(cell, "mean-max"), xs)


def test_a_backward_layer_cannot_be_asked_step_by_step():
    assert stepping.can_step(network("gru", "last", layers=2))
    assert not stepping.can_step(network("gru", "last", bidirectional=True))
