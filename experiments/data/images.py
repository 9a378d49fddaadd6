"""Loads images of digits, for a training: MNIST through TFDS, or the built-in sample.

The first time the images are decoded out of what TFDS prepared, which takes seconds; the arrays
are kept (see `storage.array_cache`).
"""

from typing import NamedTuple

import numpy as np

from experiments.data.raw import Archives
from experiments.data.sample_digits import SIDE, draw
from experiments.data.source import Data, Say, manner, obtain, other_data, read
from experiments.data.tfds import Prepared, Split
from experiments.storage import array_cache

CLASSES = 10

# Raise it when the arrays below change.
_LAYOUT = 1

# Enough for a recurrent network to read most of them, and a second to draw.
SAMPLE_TRAIN, SAMPLE_TEST = 6000, 1000


class Images(NamedTuple):
    """White digits on black.

    Attributes:
        pixels: uint8 [n, 28, 28], row by row from the top, 0 is black.
        labels: int32 [n], the digit.
    """

    pixels: np.ndarray
    labels: np.ndarray


class ImageData(NamedTuple):
    """Images to classify: `dataset` is "mnist" or "sample"."""

    dataset: str
    train: Images
    test: Images


def load_images(data: Data, data_dir: str | None, say: Say) -> ImageData:
    """Read the images; prepare them first where that has to be done. See `source.obtain`.

    Raises:
        UserError: the data cannot be read or is damaged; for `tfds` also where it cannot be had.
    """
    prepared = obtain("mnist", data, data_dir, say)
    if prepared is None:
        train, test = draw(SAMPLE_TRAIN, stream=0), draw(SAMPLE_TEST, stream=1)
        return ImageData("sample", Images(*train), Images(*test))

    def make() -> array_cache.Arrays:
        say(f"decoding the images, once{manner(prepared)}")
        return array_cache.pack(train=_decode(prepared, "train"), test=_decode(prepared, "test"))

    path = array_cache.cache_path("mnist", prepared.fingerprint(), _LAYOUT)
    return array_cache.kept(path, _unpack, make, say)


def as_text(image: np.ndarray) -> str:
    """An image [28, 28] in 14 lines of 28 characters, each of them two pixels."""
    lit = image.astype(int) > 96
    rows = lit[0::2] + 2 * lit[1::2]
    return "\n".join("".join(" ▀▄█"[k] for k in row) for row in rows)


def _unpack(arrays: array_cache.Arrays) -> ImageData:
    train, test = (array_cache.unpack(arrays, Images, split) for split in ("train", "test"))
    if not (_is_sound(train) and _is_sound(test)):
        raise ValueError("these are no images of digits")
    return ImageData("mnist", train, test)


def _is_sound(images: Images) -> bool:
    pixels, labels = images
    return (
        pixels.shape == (len(labels), SIDE, SIDE)
        and pixels.dtype == np.uint8
        and len(labels) > 0
        and labels.dtype == np.int32
        and 0 <= labels.min() <= labels.max() < CLASSES
    )


def _decode(prepared: Prepared | Archives, split: Split) -> Images:
    examples = read(prepared, split)
    images = Images(
        np.array([example["image"][..., 0] for example in examples], np.uint8),
        np.array([example["label"] for example in examples], np.int32),
    )
    if not _is_sound(images):
        raise other_data(prepared, "images of digits")
    return images
