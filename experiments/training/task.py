"""Declares what a loop is given to learn: the contract between a command and the training loop."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from experiments.config.settings import Hardware, Model, Run, Training
from experiments.data.batch import Batches
from experiments.models.classifier import Classifier
from experiments.models.ensemble import Ensemble


class Task(NamedTuple):
    """What is learnt.

    Attributes:
        name: of the command, "imdb"; it tells `predict` what kind of run this is.
        title: for people, "IMDB sentiment".
        dataset: for the files of the run: "imdb", "mnist", "sample" or what somebody calls theirs.
        classes: what the labels 0, 1 ... are called.
        model: freshly drawn.
        train, validation, test: the parts of the data.
        inputs: shape of one example, for the table of layers.
        save: writes into the run's directory what `predict` needs besides the checkpoint.
        digests: SHA-256 of what the data consists of, so that another is never taken for it.
        ask: gives the command that asks the run in a directory.
    """

    name: str
    title: str
    dataset: str
    classes: tuple[str, ...]
    model: Classifier | Ensemble
    train: Batches
    validation: Batches
    test: Batches
    inputs: tuple[int, ...]
    save: Callable[[Path], None]
    digests: Mapping[str, str]
    ask: Callable[[Path], str]


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays, in their order. 48 MB, all of IMDB's reviews, take 0.04 s."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype}{array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


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
