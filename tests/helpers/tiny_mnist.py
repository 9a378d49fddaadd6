"""Small data sets of digits: images made here, and MNIST in TFDS's own layout without TFDS."""

import io
import json
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image
from tiny_imdb import _field, _varint

from experiments.data.images import ImageData, Images
from experiments.data.sample_digits import draw


def sample(train: int, test: int) -> ImageData:
    """A smaller built-in sample."""
    return ImageData("sample", Images(*draw(train, stream=0)), Images(*draw(test, stream=1)))


def write(root: Path, data: ImageData) -> Path:
    """Write `mnist/3.0.1` under `root`; returns that directory."""
    directory = root / "mnist" / "3.0.1"
    directory.mkdir(parents=True)
    splits = []
    for split, images in (("train", data.train), ("test", data.test)):
        name = f"mnist-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(directory / name), "group_size:1")
        for pixels, label in zip(*images, strict=True):
            writer.write(_example(pixels, int(label)))
        writer.close()
        splits.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(len(images.labels))],
            }
        )
    info = {
        "fileFormat": "array_record",
        "moduleName": "tensorflow_datasets.image_classification.mnist",
        "name": "mnist",
        "splits": splits,
        "version": "3.0.1",
    }
    (directory / "dataset_info.json").write_text(json.dumps(info))
    core = "tensorflow_datasets.core.features"
    image = {
        "image": {"dtype": "uint8", "shape": {"dimensions": ["28", "28", "1"]}},
        "pythonClassName": f"{core}.image_feature.Image",
    }
    label = {
        "classLabel": {"numClasses": "10"},
        "pythonClassName": f"{core}.class_label_feature.ClassLabel",
    }
    features = {
        "featuresDict": {"features": {"image": image, "label": label}},
        "pythonClassName": f"{core}.features_dict.FeaturesDict",
    }
    (directory / "features.json").write_text(json.dumps(features))
    return directory


def _example(pixels: np.ndarray, label: int) -> bytes:
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    entries = (
        _field(1, b"image") + _field(2, _field(1, _field(1, png.getvalue()))),
        _field(1, b"label") + _field(2, _field(3, _field(1, _varint(label)))),
    )
    return _field(1, b"".join(_field(1, entry) for entry in entries))
