"""Cuts examples into the batches that training reads, each a pure function of (seed, epoch, step).

An epoch permutes the examples; their source says which of them stand together in a batch, and
reads them. So nothing is lost or seen twice, and a run can start again at any step.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from experiments.data.shuffling import FILLER, generator, permutation


class Examples(NamedTuple):
    """What a training step is fed with.

    Attributes:
        inputs: ids [B, T] or features [B, T, D].
        lengths: int32 [B], the valid steps; 0 on rows that only fill the last batch.
        labels: int32 [B], 0 on those rows.
        weights: float32 [B], 0 on those rows and 1 elsewhere.
    """

    inputs: Any
    lengths: Any
    labels: Any
    weights: Any


class Batch(NamedTuple):
    """Examples, and which they are: `rows`, int64 [B], holds their numbers, `FILLER` for none."""

    examples: Examples
    rows: np.ndarray


class Plan(NamedTuple):
    """The batches of an epoch.

    Attributes:
        rows: int64 [steps, B], which examples stand in which batch.
        details: [steps, ...], what else the source needs to read a batch.
    """

    rows: np.ndarray
    details: np.ndarray


class Source(Protocol):
    """Numbered examples that can be read in batches."""

    @property
    def labels(self) -> np.ndarray:
        """int32 [n]."""

    def plan(self, rows: np.ndarray, batch_size: int, random: np.random.Philox | None) -> Plan:
        """Cut shuffled rows into batches; without `random` the rows to evaluate, in one order."""

    def read(self, rows: np.ndarray, detail: Any) -> tuple[np.ndarray, np.ndarray]:
        """The inputs and int32 lengths of a batch, zeros where a row is `FILLER`."""


class Batches:
    """The batches of some examples.

    Args:
        source: all examples.
        rows: int [n], the examples to use, e.g. from `split_validation`; None for all.
        batch_size: examples per batch; the last batch is filled with rows of weight 0.

    Raises:
        ValueError: no rows, a row outside the source, or a size below 1.
    """

    def __init__(self, source: Source, rows: np.ndarray | None, batch_size: int) -> None:
        n = len(source.labels)
        rows = np.arange(n) if rows is None else np.asarray(rows, np.int64)
        if not rows.size or rows.min() < 0 or rows.max() >= n:
            raise ValueError(f"rows are {rows}; give numbers from 0 to {n - 1}, at least one")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; give at least 1")
        self.source, self.rows, self.batch_size = source, rows, batch_size
        self._last: tuple[tuple[int, int], Plan] | None = None

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches, the filled one included."""
        return -(-len(self.rows) // self.batch_size)

    def plan(self, seed: int, epoch: int) -> Plan:
        """All batches of an epoch in their order, a pure function of `(seed, epoch)`.

        Raises:
            ValueError: `seed` or `epoch` is negative, or does not fit into 64 bits.
        """
        # A plan costs as much as several batches; the loop asks for one epoch at a time.
        if self._last is None or self._last[0] != (seed, epoch):
            random = generator(seed, epoch)
            shuffled = self.rows[permutation(random, len(self.rows))]
            self._last = (seed, epoch), self.source.plan(shuffled, self.batch_size, random)
        return self._last[1]

    def train(self, seed: int, epoch: int, step: int) -> Batch:
        """Batch `step` of an epoch, 0 <= step < steps_per_epoch."""
        plan = self.plan(seed, epoch)
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step is {step}; an epoch has {self.steps_per_epoch}")
        return self._read(plan.rows[step], plan.details[step])

    def evaluation(self) -> Iterator[Batch]:
        """Every example once, always in the same order."""
        plan = self.source.plan(self.rows, self.batch_size, None)
        for rows, detail in zip(plan.rows, plan.details, strict=True):
            yield self._read(rows, detail)

    def _read(self, rows: np.ndarray, detail: Any) -> Batch:
        real = rows != FILLER
        inputs, lengths = self.source.read(rows, detail)
        labels = np.where(real, self.source.labels[rows], np.int32(0))
        return Batch(Examples(inputs, lengths, labels, real.astype(np.float32)), rows)
