"""A whole network in ONNX, run by onnxruntime, answers as it does itself."""

import itertools

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.config.settings import Model
from experiments.models.build import build
from experiments.models.onnx import to_onnx

onnxruntime = pytest.importorskip("onnxruntime", reason="it has no wheel for macOS 12")

LENGTHS = np.array([7, 0, 1, 4, 6], np.int32)
READOUTS = ("last", "mean", "max", "mean-max")
CELLS = ("rnn", "lstm", "gru", "none")


def network(cell, readout, *, vocabulary=None, bigrams=0, classes=3, **options):
    model = Model(cell=cell, units=4, readout=readout, **options)
    made = build(model, 0, features=5, vocabulary=vocabulary, bigrams=bigrams, classes=classes)
    # Tables of pairs and biases begin at zero, where a mistake would not be seen.
    graph, params = nnx.split(made)
    rng = np.random.default_rng(0)
    return nnx.merge(
        graph, jax.tree.map(lambda a: rng.normal(0, 0.5, a.shape).astype("float32"), params)
    )


def answers(made, xs):
    model = to_onnx(made).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"xs": xs, "lengths": LENGTHS})
    return logits


@pytest.mark.parametrize(("cell", "readout"), list(itertools.product(CELLS, READOUTS)))
def test_texts(cell, readout):
    options = {} if cell == "none" else {"layers": 2, "bidirectional": True}
    made = network(cell, readout, vocabulary=50, bigrams=11, hidden=6, members=2, **options)
    ids = np.random.default_rng(1).integers(0, 50, (5, 7)).astype(np.int32)
    # Float32, summed in another order.
    np.testing.assert_allclose(answers(made, ids), made(ids, LENGTHS), atol=5e-6, rtol=5e-6)


@pytest.mark.parametrize("cell", CELLS[:3])
def test_images(cell):
    made = network(cell, "last", classes=10)
    xs = np.random.default_rng(1).normal(size=(5, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(answers(made, xs), made(xs, LENGTHS), atol=5e-6, rtol=5e-6)


def test_pairs_of_large_ids_fall_into_the_same_rows():
    """All 32 bits of the mixing: ids up to 60,000, a table of 100,003 rows."""
    made = network("none", "mean", vocabulary=60_000, bigrams=100_003, classes=2)
    ids = np.random.default_rng(1).integers(0, 60_000, (5, 7)).astype(np.int32)
    np.testing.assert_allclose(answers(made, ids), made(ids, LENGTHS), atol=5e-6, rtol=5e-6)
