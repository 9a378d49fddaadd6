"""Makes small data sets of digits: images, and MNIST in TFDS's own layout without TFDS."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from tiny_imdb import FEATURES, class_label, record, write_data_set

from experiments.data.images import ImageData, Images
from experiments.data.sample_digits import draw


def sample(train: int, test: int) -> ImageData:
    """A smaller built-in sample."""
    return ImageData("sample", Images(*draw(train, stream=0)), Images(*draw(test, stream=1)))


def write(root: Path, data: ImageData) -> Path:
    """Write `mnist/3.0.1` under `root`; returns that directory."""
    splits = {
        split: [record(int(label), image=_png(pixels)) for pixels, label in zip(*part, strict=True)]
        for split, part in (("train", data.train), ("test", data.test))
    }
    info = {
        "fileFormat": "array_record",
        "moduleName": "tensorflow_datasets.image_classification.mnist",
        "name": "mnist",
        "version": "3.0.1",
    }
    image = {
        "image": {"dtype": "uint8", "shape": {"dimensions": ["28", "28", "1"]}},
        "pythonClassName": f"{FEATURES}.image_feature.Image",
    }
    directory = root / "mnist" / "3.0.1"
    write_data_set(directory, splits, 1, info, {"image": image, "label": class_label(10)})
    return directory


def _png(pixels: np.ndarray) -> bytes:
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return png.getvalue()
