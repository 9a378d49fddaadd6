"""Runs Keras's training step: `train_on_batch` of the script's model."""

from typing import Any

import keras
import numpy as np

from experiments.benchmark.peers import Arrays, Calls, Problem, keras_layer
from experiments.benchmark.peers.imdb_keras import model

prepare = keras_layer.prepare


def build(option: str, problem: Problem, arrays: Arrays) -> Calls:
    """The script's model with these weights and Adam."""
    network = model(len(arrays["kernel"]), keras.optimizers.Adam(problem["learning_rate"]))
    network.build(arrays["tokens"].shape)
    given = [arrays[name] for name in ("embedding", "w:0", "w:1", "w:2", "kernel", "bias")]
    for variable, array in zip(network.trainable_variables, given, strict=True):
        variable.assign(array)
    tokens, labels = arrays["tokens"], arrays["labels"].astype(np.float32)[:, None]

    def step() -> dict[str, Any]:
        loss, _ = network.train_on_batch(tokens, labels)
        return {"loss": loss}

    return {"step": step}
