"""Counts what a finished run of texts answers to its test part, and draws it."""

import sys
from pathlib import Path

import numpy as np

from experiments.data.batch import Batches
from experiments.data.shuffling import FILLER
from experiments.plots import confusion
from experiments.runs.directory import RunDir


def draw(directory: RunDir, test: Batches) -> Path:
    """Let a run's best epoch answer to every text: `confusion.json`, and the picture's path."""
    import jax
    from flax import nnx

    from experiments.runs.load import load

    trained = load(directory, lambda line: print(line, file=sys.stderr))

    @jax.jit
    def logits(params: nnx.State, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        return nnx.merge(trained.graphdef, params)(tokens, lengths)

    counts = np.zeros((len(trained.classes),) * 2, np.int64)
    for batch in test.evaluation():
        found = np.asarray(logits(trained.params, batch.examples.inputs, batch.examples.lengths))
        # Of two classes one logit, which speaks for the second where it is above zero.
        said = found.argmax(1) if found.shape[1] > 1 else (found[:, 0] > 0).astype(np.int64)
        real = batch.rows != FILLER
        np.add.at(counts, (batch.examples.labels[real], said[real]), 1)
    confusion.write(directory.path, confusion.Confusion(trained.classes, counts))
    return confusion.draw(directory.path)
