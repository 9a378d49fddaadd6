"""A small data set in TFDS's own layout, written without TFDS and without TensorFlow.

Records are `tf.train.Example` messages, encoded here by hand from the protocol-buffer wire format:
a field is (number << 3 | 2), a length and the bytes.
"""

import itertools
import json
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordWriter

SHARD = "imdb_reviews-{split}.array_record-{k:05d}-of-{of:05d}"

Reviews = list[tuple[str, int]]


def write(
    root: Path, train: Reviews, test: Reviews, shards: int = 1, file_format: str = "array_record"
) -> Path:
    """Write `imdb_reviews/plain_text/1.0.0` under `root`; returns that directory."""
    directory = root / "imdb_reviews" / "plain_text" / "1.0.0"
    directory.mkdir(parents=True)
    splits = []
    for split, reviews in (("train", train), ("test", test)):
        cut = [len(reviews) * k // shards for k in range(shards + 1)]
        parts = [reviews[a:b] for a, b in itertools.pairwise(cut)]
        for k, part in enumerate(parts):
            name = SHARD.format(split=split, k=k, of=shards)
            writer = ArrayRecordWriter(str(directory / name), "group_size:1")
            for text, label in part:
                writer.write(_example(text.encode(), label))
            writer.close()
        splits.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(len(part)) for part in parts],
            }
        )
    info = {
        "configName": "plain_text",
        "fileFormat": file_format,
        "moduleName": "tensorflow_datasets.datasets.imdb_reviews.imdb_reviews_dataset_builder",
        "name": "imdb_reviews",
        "splits": splits,
        "version": "1.0.0",
    }
    (directory / "dataset_info.json").write_text(json.dumps(info))
    core = "tensorflow_datasets.core.features"
    label = {
        "classLabel": {"numClasses": "2"},
        "pythonClassName": f"{core}.class_label_feature.ClassLabel",
    }
    text_feature = {"pythonClassName": f"{core}.text_feature.Text", "text": {}}
    features = {
        "featuresDict": {"features": {"label": label, "text": text_feature}},
        "pythonClassName": f"{core}.features_dict.FeaturesDict",
    }
    (directory / "features.json").write_text(json.dumps(features))
    (directory / "label.labels.txt").write_text("neg\npos\n")
    return directory


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _example(text: bytes, label: int) -> bytes:
    bytes_list = _field(1, _field(1, text))
    int64_list = _field(3, _field(1, _varint(label % 2**64)))
    entries = (
        _field(1, b"text") + _field(2, bytes_list),
        _field(1, b"label") + _field(2, int64_list),
    )
    return _field(1, b"".join(_field(1, entry) for entry in entries))
