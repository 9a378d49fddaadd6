"""Reads images as sequences, in batches.

An image is read line by line, as 28 steps of 28 pixels, or pixel by pixel, as 784 steps of 1, and
then in another order where there is a permutation:

    xs[t] = pixels[t, :] / 255                      rows, D = 28
    xs[t] = pixels.reshape(784)[order[t]] / 255     pixels, D = 1

Training images may be moved first, each by a random number of pixels down and across.
"""

from typing import NamedTuple

import numpy as np

from experiments.data.batch import Plan
from experiments.data.images import SIDE, Images
from experiments.data.shuffling import FILLER, cut, generator, permutation, uniform

# Which word of the key the generator gets, out of reach of any epoch and of the split.
_ORDER = 2**64 - 2


class Reading(NamedTuple):
    """How an image becomes a sequence.

    Attributes:
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


class ImageSequences:
    """Images read as sequences.

    Args:
        images: all of them.
        reading: how an image becomes a sequence.
        shift: training moves each image by up to so many pixels up or down, left or right.

    Raises:
        ValueError: a shift below 0.
    """

    def __init__(self, images: Images, reading: Reading, shift: int = 0) -> None:
        if shift < 0:
            raise ValueError(f"shift is {shift}; give at least 0")
        self.labels, self.reading, self.shift = images.labels, reading, shift
        self._pixels = images.pixels

    def plan(self, rows: np.ndarray, batch_size: int, random: np.random.Philox | None) -> Plan:
        """The rows as they come, and how far [steps, B, 2] each image is moved."""
        batches = cut(rows, batch_size)
        if random is None:
            return Plan(batches, np.zeros((*batches.shape, 2), np.int64))
        moves = uniform(random, 2 * batches.size) * (2 * self.shift + 1)
        return Plan(batches, moves.astype(np.int64).reshape(*batches.shape, 2) - self.shift)

    def read(self, rows: np.ndarray, detail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels float32 [B, T, D] in [0, 1], moved by `detail`; and the lengths T, int32 [B]."""
        real = rows != FILLER
        images = np.where(real[:, None, None], self._pixels[rows], 0)
        lengths = np.where(real, np.int32(self.reading.shape[0]), np.int32(0))
        return self.reading(moved(images, detail)), lengths


def moved(images: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Images [B, 28, 28], each moved down and across by its `moves` [B, 2]; black comes in."""
    margin = int(np.abs(moves).max(initial=0))
    if not margin:
        return images
    wide = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    down, across = (margin - moves[:, axis, None] + np.arange(SIDE) for axis in (0, 1))
    return wide[np.arange(len(images))[:, None, None], down[:, :, None], across[:, None, :]]
