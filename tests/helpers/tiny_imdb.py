"""Writes a small data set of reviews in TFDS's own layout, without TFDS and without TensorFlow.

Records are `tf.train.Example` messages, encoded here by hand from the protocol-buffer wire format:
a field is (number << 3 | 2), a length and the bytes.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

SHARD = "imdb_reviews-{split}.array_record-{k:05d}-of-{of:05d}"
FEATURES = "tensorflow_datasets.core.features"

Reviews = list[tuple[str, int]]


def write(
    root: Path, train: Reviews, test: Reviews, shards: int = 1, file_format: str = "array_record"
) -> Path:
    """Write `imdb_reviews/plain_text/1.0.0` under `root`; returns that directory."""
    splits = {
        split: [record(label, text=text.encode()) for text, label in reviews]
        for split, reviews in (("train", train), ("test", test))
    }
    info = {
        "configName": "plain_text",
        "fileFormat": file_format,
        "moduleName": "tensorflow_datasets.datasets.imdb_reviews.imdb_reviews_dataset_builder",
        "name": "imdb_reviews",
        "version": "1.0.0",
    }
    text = {"pythonClassName": f"{FEATURES}.text_feature.Text", "text": {}}
    directory = root / "imdb_reviews" / "plain_text" / "1.0.0"
    write_data_set(directory, splits, shards, info, {"label": class_label(2), "text": text})
    (directory / "label.labels.txt").write_text("neg\npos\n")
    return directory


def write_data_set(
    directory: Path, splits: Mapping[str, Sequence[bytes]], shards: int, info: dict, features: dict
) -> None:
    """Write the shards of these records, `dataset_info.json` and `features.json`."""
    directory.mkdir(parents=True)
    described = []
    for split, records in splits.items():
        cuts = [len(records) * k // shards for k in range(shards + 1)]
        for k, (start, end) in enumerate(itertools.pairwise(cuts)):
            name = f"{info['name']}-{split}.array_record-{k:05d}-of-{shards:05d}"
            writer = ArrayRecordWriter(str(directory / name), "group_size:1")
            for content in records[start:end]:
                writer.write(content)
            writer.close()
        described.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(b - a) for a, b in itertools.pairwise(cuts)],
            }
        )
    (directory / "dataset_info.json").write_text(json.dumps(info | {"splits": described}))
    content = {
        "featuresDict": {"features": features},
        "pythonClassName": f"{FEATURES}.features_dict.FeaturesDict",
    }
    (directory / "features.json").write_text(json.dumps(content))


def class_label(classes: int) -> dict:
    """The description of a label."""
    name = f"{FEATURES}.class_label_feature.ClassLabel"
    return {"classLabel": {"numClasses": str(classes)}, "pythonClassName": name}


def record(label: int, **content: bytes) -> bytes:
    """An example of bytes by their names, and a label."""
    values = {name: _field(1, _field(1, value)) for name, value in content.items()}
    values["label"] = _field(3, _field(1, _varint(label % 2**64)))
    entries = [_field(1, name.encode()) + _field(2, value) for name, value in values.items()]
    return _field(1, b"".join(_field(1, entry) for entry in entries))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])
