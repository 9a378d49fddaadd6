"""Gives the scripts of the other libraries the same reviews, settings and lines to print.

The reviews are those of `experiments.imdb`: the same words, the same 20,000 for training and 5,000
for validation. Everything else in the scripts is their library's own way.
"""

import dataclasses
import json
import sys
import time
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from experiments.config.cli import Range, path

STARTED = time.perf_counter()


@dataclasses.dataclass(frozen=True)
class Settings:
    """Train an LSTM on IMDB; a line of JSON for each epoch."""

    data: Literal["tfds", "sample"] = "tfds"
    """IMDB, or the built-in sample."""
    data_dir: Annotated[str | None, path("TFDS's own")] = None
    """TFDS's data_dir."""
    epochs: Annotated[int, Range(1, 1000)] = 3
    """Passes over the training part."""
    reviews: Annotated[int | None, Range(2), path("all", metavar="INT")] = None
    """Use so many reviews of the training split only."""
    max_length: Annotated[int, Range(1, 10**5)] = 500
    """Words; of longer reviews the end is kept."""
    units: Annotated[int, Range(1, 16384)] = 32
    """Units of the LSTM."""
    threads: Annotated[int | None, Range(1), path("the library's own", metavar="INT")] = None
    """Threads of the library."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Decides the validation split and the first weights."""


VOCABULARY, FEATURES, BATCH = 10_000, 32, 128


class Reviews(NamedTuple):
    """Lists of ids, int32 [length] each, and labels, float32 [n, 1]."""

    train: list[np.ndarray]
    train_labels: np.ndarray
    validation: list[np.ndarray]
    validation_labels: np.ndarray


def load(settings: Any) -> Reviews:
    """Read the reviews and divide them as `experiments.imdb` does."""
    from experiments.data.reviews import load_text
    from experiments.data.shuffling import split_validation

    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    corpus = load_text(settings.data, settings.data_dir, VOCABULARY, say).train
    count = min(settings.reviews or len(corpus.labels), len(corpus.labels))
    parts = split_validation(count, 0.2, settings.seed)
    texts, labels = [], []
    for rows in parts:
        texts.append([corpus.example(int(row))[-settings.max_length :] for row in rows])
        labels.append(corpus.labels[rows].astype(np.float32)[:, None])
    return Reviews(texts[0], labels[0], texts[1], labels[1])


def report(epoch: int, seconds: float, parameters: int, **numbers: float) -> None:
    """A line of JSON on standard output; `seconds` are of the epoch with its validation."""
    row = {"epoch": epoch, "seconds": round(seconds, 3), "parameters": parameters}
    row |= {name: round(float(value), 4) for name, value in numbers.items()}
    row["since_start"] = round(time.perf_counter() - STARTED, 3)
    print(json.dumps(row), flush=True)
