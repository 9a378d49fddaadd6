"""Trains on IMDB in Keras, as its guides and the tutorial do: `pad_sequences`, `Sequential`, `fit`.

    python -m experiments.benchmark.peers.imdb_keras --backend tensorflow --data-dir DATA_DIR

Reviews are padded in front to 500 words and padding is not masked, both as in Keras's own examples.
"""

import dataclasses
import os
import time
from typing import Any, Literal

from experiments.benchmark.peers.reviews import BATCH, FEATURES, VOCABULARY, Settings, load, report
from experiments.config.cli import parse, run


@dataclasses.dataclass(frozen=True)
class Keras(Settings):
    """Train an LSTM on IMDB with Keras; a line of JSON for each epoch."""

    backend: Literal["jax", "tensorflow", "torch"] = "tensorflow"
    """What Keras computes with."""
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """With Keras's own learning rate."""
    mask_zero: bool = False
    """Let the LSTM skip the padding."""


def model(units: int, optimizer: Any = "rmsprop", mask_zero: bool = False) -> Any:
    """Embedding, LSTM, one sigmoid; compiled."""
    import keras

    network = keras.Sequential()
    network.add(keras.layers.Embedding(VOCABULARY, FEATURES, mask_zero=mask_zero))
    network.add(keras.layers.LSTM(units))
    network.add(keras.layers.Dense(1, activation="sigmoid"))
    network.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    return network


def main(args: list[str] | None = None) -> None:
    """Train, and print a line for each epoch."""
    settings = parse(Keras, args, prog="python -m experiments.benchmark.peers.imdb_keras")
    os.environ["KERAS_BACKEND"] = settings.backend
    import keras

    if settings.threads is not None and settings.backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
        tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    keras.utils.set_random_seed(settings.seed)
    reviews = load(settings)
    train, validation = (
        keras.utils.pad_sequences(texts, maxlen=settings.max_length)
        for texts in (reviews.train, reviews.validation)
    )
    network = model(settings.units, settings.optimizer, settings.mask_zero)

    class Clock(keras.callbacks.Callback):
        """Keras's own seconds are only printed."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds = time.perf_counter() - self.begun
            report(epoch + 1, seconds, network.count_params(), **(logs or {}))

    options = {"batch_size": BATCH, "epochs": settings.epochs, "verbose": 0, "callbacks": [Clock()]}
    held = validation, reviews.validation_labels
    network.fit(train, reviews.train_labels, validation_data=held, **options)


if __name__ == "__main__":
    run(main)
