"""Declare what a loop is given to learn: the contract between a command and the training loop."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from experiments.config.settings import Hardware, Model, Run, Training
from experiments.models.classifier import Classifier
from experiments.models.ensemble import Ensemble


class Part(Protocol):
    """One part of the data, cut into batches whose first four fields are those of `Examples`."""

    @property
    def examples(self) -> int:
        """How many there are."""

    @property
    def steps_per_epoch(self) -> int:
        """How many batches."""

    def train(self, seed: int, epoch: int, step: int) -> Any:
        """A batch, as a function of these three."""

    def evaluation(self) -> Iterator[Any]:
        """All batches, in one order."""


class Task(NamedTuple):
    """What is learnt.

    Attributes:
        name: of the command, "imdb"; it tells `predict` what kind of run this is.
        title: for people, "IMDB sentiment".
        dataset: for the files of the run, "imdb" or "sample".
        model: freshly drawn.
        train, validation, test: the parts of the data.
        inputs: shape of one example, for the table of layers.
        save: writes into the run's directory what `predict` needs besides the checkpoint.
        digests: SHA-256 of what the data consists of, so that another is never taken for it.
    """

    name: str
    title: str
    dataset: str
    model: Classifier | Ensemble
    train: Part
    validation: Part
    test: Part
    inputs: tuple[int, ...]
    save: Callable[[Path], None]
    digests: Mapping[str, str]


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays, in their order. 48 MB, all of IMDB's reviews, take 0.04 s."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class Settings(Protocol):
    """The groups of settings that a training reads; a task has more."""

    @property
    def model(self) -> Model:
        """The network."""

    @property
    def training(self) -> Training:
        """How it is trained."""

    @property
    def run(self) -> Run:
        """Where the results go."""

    @property
    def hardware(self) -> Hardware:
        """Where it is computed."""
