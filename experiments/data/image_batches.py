"""Batches of images as sequences, each a pure function of (seed, epoch, step).

An image is read line by line, as 28 steps of 28 pixels, or pixel by pixel, as 784 steps of 1, and
then in an order of one's own where there is a permutation:

    xs[t] = pixels[t, :] / 255                      rows, D = 28
    xs[t] = pixels.reshape(784)[order[t]] / 255     pixels, D = 1

Training images may be moved first, each by a random number of pixels down and across.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.data.images import SIDE, Images
from experiments.data.shuffling import FILLER, cut, generator, permutation, rows_to_use, uniform

# Which word of the key the generator gets, out of reach of any epoch and of the split.
_ORDER = 2**64 - 2


class ImageBatch(NamedTuple):
    """`B` images as sequences of one length.

    Fields:
      inputs: float32 [B, T, D] in [0, 1].
      lengths: int32 [B], T, but 0 on rows that only fill the last batch.
      labels: int32 [B], 0 on those rows.
      weights: float32 [B], 0 on those rows and 1 elsewhere.
      rows: int64 [B], the image's number; `FILLER` on those rows.
    """

    inputs: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray


class Plan(NamedTuple):
    """An epoch: which images stand in which batch, int64 [steps, B], and where [steps, B, 2]."""

    rows: np.ndarray
    moves: np.ndarray


class Reading(NamedTuple):
    """How an image becomes a sequence.

    Fields:
      pixels: pixel by pixel, instead of line by line.
      permute: the seed of a fixed permutation of the 784 pixels, which needs `pixels`; or None.
    """

    pixels: bool = False
    permute: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Steps and features, (T, D)."""
        return (SIDE * SIDE, 1) if self.pixels else (SIDE, SIDE)

    def order(self) -> np.ndarray:
        """Which pixel stands at which step, int64 [784]; a function of the seed alone."""
        if self.permute is None:
            return np.arange(SIDE * SIDE)
        return permutation(generator(self.permute, _ORDER), SIDE * SIDE)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [B, 28, 28] -> float32 [B, T, D] in [0, 1]."""
        if self.permute is not None and not self.pixels:
            raise ValueError(f"permute is {self.permute}, but only single pixels are permuted")
        flat = images.reshape(len(images), -1)
        if self.permute is not None:
            flat = flat[:, self.order()]
        return flat.reshape(len(images), *self.shape) * np.float32(1 / 255)


class ImageBatches:
    """The batches of some images.

    Args:
      images: all of them.
      rows: int [n], the images to use, e.g. from `split_validation`; None for all.
      batch_size: images per batch; the last batch is filled with rows of weight 0.
      reading: how an image becomes a sequence.
      shift: `train` moves each image by up to so many pixels up or down, left or right.

    Raises:
      ValueError: no rows, a row outside the images, a size below 1, or a shift below 0.
    """

    def __init__(
        self,
        images: Images,
        rows: np.ndarray | None,
        batch_size: int,
        reading: Reading,
        shift: int = 0,
    ) -> None:
        self._rows = rows_to_use(rows, len(images.labels), batch_size)
        if shift < 0:
            raise ValueError(f"shift is {shift}; give at least 0")
        self.images, self.batch_size, self.reading = images, batch_size, reading
        self.shift = shift
        self._last: tuple[tuple[int, int], Plan] | None = None

    @property
    def examples(self) -> int:
        """Number of images."""
        return len(self._rows)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches, the filled one included."""
        return -(-len(self._rows) // self.batch_size)

    def train(self, seed: int, epoch: int, step: int) -> ImageBatch:
        """Batch `step` of an epoch, 0 <= step < steps_per_epoch."""
        # A plan costs as much as several batches; the loop asks for one epoch at a time.
        if self._last is None or self._last[0] != (seed, epoch):
            self._last = (seed, epoch), self._plan(generator(seed, epoch))
        if not 0 <= step < self.steps_per_epoch:
            raise ValueError(f"step is {step}; an epoch has {self.steps_per_epoch}")
        plan = self._last[1]
        return self._gather(plan.rows[step], plan.moves[step])

    def evaluation(self) -> Iterator[ImageBatch]:
        """Every image once, in the order of the rows and where it stands."""
        for rows in cut(self._rows, self.batch_size):
            yield self._gather(rows, None)

    def _plan(self, source: np.random.Philox) -> Plan:
        rows = cut(self._rows[permutation(source, len(self._rows))], self.batch_size)
        moves = uniform(source, 2 * rows.size) * (2 * self.shift + 1)
        return Plan(rows, moves.astype(np.int64).reshape(*rows.shape, 2) - self.shift)

    def _gather(self, rows: np.ndarray, moves: np.ndarray | None) -> ImageBatch:
        real = rows != FILLER
        images = np.where(real[:, None, None], self.images.pixels[rows], 0)
        return ImageBatch(
            inputs=self.reading(images if moves is None else moved(images, moves)),
            lengths=np.where(real, np.int32(self.reading.shape[0]), np.int32(0)),
            labels=np.where(real, self.images.labels[rows], np.int32(0)),
            weights=real.astype(np.float32),
            rows=rows,
        )


def moved(images: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Images [B, 28, 28], each moved down and across by its `moves` [B, 2]; black comes in."""
    margin = int(np.abs(moves).max(initial=0))
    if not margin:
        return images
    wide = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    down, across = (margin - moves[:, axis, None] + np.arange(SIDE) for axis in (0, 1))
    return wide[np.arange(len(images))[:, None, None], down[:, :, None], across[:, None, :]]
