"""Reads data sets that TFDS has prepared, without TensorFlow.

A prepared data set is a directory `DATA_DIR/NAME[/CONFIG]/VERSION/` with `dataset_info.json` and
the shards named in it, in the `array_record` format. Where it lies and how many examples it has is
found by its files alone, so that a start from kept arrays need not import TFDS; the records are
read by TFDS itself. `prepare` prepares.
"""

import hashlib
import json
import os
import re
import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.config.cli import UserError
from experiments.storage.quiet import quiet

Name = Literal["imdb", "mnist"]
Split = Literal["train", "test"]

# What TFDS calls them: builder, and configuration where it has some.
BUILDERS: Mapping[Name, str] = {"imdb": "imdb_reviews/plain_text", "mnist": "mnist"}
SPLITS: tuple[Split, ...] = ("train", "test")

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Prepared(NamedTuple):
    """A prepared data set: where it lies, and the examples in each split that is there."""

    name: Name
    directory: Path
    counts: Mapping[str, int]

    @property
    def root(self) -> Path:
        """The TFDS data directory that it lies in."""
        return self.directory.parents[len(Path(BUILDERS[self.name]).parts)]

    def fingerprint(self) -> str:
        """A digest of name, size and time of every file; it changes when the data may have."""
        digest = hashlib.sha256(self.name.encode())
        for path in sorted(self.directory.iterdir()):
            stat = path.stat()
            digest.update(f"\0{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        return digest.hexdigest()


def data_root(data_dir: str | None) -> Path:
    """The absolute `data_dir`; where None, TFDS's own: $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
        UserError: there is something, but no directory that can be read.
    """
    named = "--data-dir"
    if data_dir is None:
        named = "$TFDS_DATA_DIR," if "TFDS_DATA_DIR" in os.environ else "the data directory"
        data_dir = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    try:
        root = Path(data_dir).expanduser().absolute()
    except RuntimeError:
        raise UserError(
            "there is no home directory to look for data in; give --data-dir, or set HOME"
        ) from None
    try:
        os.listdir(root)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(
            f"{named} {root} cannot be read ({error.strerror}); give a --data-dir that can"
        ) from None
    return root


def find(name: Name, root: Path) -> Prepared | None:
    """The newest prepared version under `root`, or None.

    Raises:
        UserError: there is one, but it is damaged, without a shard that a training reads, or not
            in the `array_record` format.
    """
    try:
        candidates = list((root / BUILDERS[name]).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
    # TFDS prepares in `incomplete.*` and renames at the end, so a version's name means complete.
    versions = {
        tuple(map(int, match.groups())): path
        for path in candidates
        if (match := _VERSION.fullmatch(path.name)) and path.is_dir()
    }
    if not versions:
        return None
    directory = versions[max(versions)]
    return Prepared(name, directory, _counts(name, directory))


def read(prepared: Prepared, split: Split) -> list[dict[str, Any]]:
    """All examples of a split, as TFDS decodes them: text as bytes, images as uint8 arrays.

    Every record is read and checked against its own hash and the number of records in
    `dataset_info.json`.

    Raises:
        UserError: a shard is missing, cut off or damaged, or does not hold what it should.
    """
    with quiet("absl"):  # its exceptions say the same
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(prepared.directory)
            info = builder.info.splits[split]
            shards = dict(zip(map(Path, info.filepaths), info.shard_lengths, strict=True))
        # Whatever foreign code makes of damaged files, the user gets one line.
        except Exception as error:
            raise _damaged(prepared, prepared.directory, error) from None
        for path, count in shards.items():
            _check_count(prepared, path, count)
        try:
            source = builder.as_data_source(split)
            return list(source.__getitems__(range(len(source))))
        except Exception as error:
            raise _damaged(prepared, _broken_shard(list(shards)), error) from None


def _counts(name: Name, directory: Path) -> dict[str, int]:
    """Examples per split out of `dataset_info.json`, for those whose shards are there."""
    path = directory / "dataset_info.json"
    incomplete = Prepared(name, directory, {})
    try:
        info = json.loads(path.read_text("utf-8"))
        file_format = info["fileFormat"]
        counts = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
        shards = {split["name"]: _shards(info["name"], split) for split in info["splits"]}
        missing = [split for split in SPLITS if split not in counts]
    except FileNotFoundError:
        raise _damaged(incomplete, path, "it is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(incomplete, path, "it is no description of a data set") from None
    if missing:
        raise _damaged(incomplete, path, f"it has no split {missing[0]}")
    if file_format != "array_record":
        other = shlex.quote(str(incomplete.root / "array_record"))
        raise UserError(
            f"{directory} is in the format {file_format}, only array_record can be read without "
            f"TensorFlow; run `python -m experiments.data prepare {name} --data-dir {other}` and "
            "give that --data-dir"
        )
    for split, names in shards.items():
        gone = [name for name in names if not (directory / name).exists()]
        if gone and split in SPLITS:
            raise _damaged(incomplete, directory / gone[0], "it is missing")
        if gone:
            del counts[split]
    return counts


def _shards(name: str, split: Mapping[str, Any]) -> list[str]:
    """The files of a split, by TFDS's own names or as `dataset_info.json` says they are called."""
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    values = {"DATASET": name, "SPLIT": split["name"], "FILEFORMAT": "array_record"}
    n = len(split["shardLengths"])
    numbers = [(f"{k:05d}", f"{n:05d}") for k in range(n)]
    return [
        template.format(**values, SHARD_INDEX=k, NUM_SHARDS=of, SHARD_X_OF_Y=f"{k}-of-{of}")
        for k, of in numbers
    ]


def _check_count(prepared: Prepared, path: Path, count: int) -> None:
    # A shard cut to its first block opens without complaint and yields None for every record.
    from array_record.python.array_record_module import ArrayRecordReader

    records, why = 0, ""
    try:
        reader = ArrayRecordReader(str(path))
        records = reader.num_records()
        reader.close()
    except Exception as error:
        why = str(error)
    if why or records != count:
        raise _damaged(prepared, path, why or f"{records:,} records, not {count:,}")


def _broken_shard(paths: list[Path]) -> Path:
    """Which of the shards cannot be read to its end; the first where all can."""
    from array_record.python.array_record_module import ArrayRecordReader

    for path in paths:
        try:
            ArrayRecordReader(str(path)).read_all()
        except Exception:
            return path
    return paths[0]


def brief(reason: object, width: int = 160) -> str:
    """What an exception or a program said, on one line and cut between words where it is long."""
    said = " ".join(str(reason).split()) or type(reason).__name__
    cut = textwrap.shorten(said, width, placeholder=" ...")
    return cut if cut != "..." else f"{said[: width - 3]}..."


def _damaged(prepared: Prepared, path: Path, reason: object) -> UserError:
    directory, root = (shlex.quote(str(path)) for path in (prepared.directory, prepared.root))
    return UserError(
        f"{path} cannot be used: {brief(reason)}; delete {directory} and run "
        f"`python -m experiments.data prepare {prepared.name} --data-dir {root}`"
    )
