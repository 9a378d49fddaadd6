"""Reads examples straight from archives, where TFDS cannot: the same, in the same order.

TFDS gives every example a key and sorts the examples of a split by

    MD5(name of the split + key)

The key of a review is its path in the archive, that of an image its place in the file.
"""

import gzip
import hashlib
import importlib.util
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.config.cli import UserError
from experiments.data.archives import Archive, archives, fault, manual_dir, misfit, wrong_file
from experiments.data.tfds import Name, Split, brief

# Raise it when the examples below change: the key of kept arrays holds it.
_READER = 1

_SIDE = 28
_LABELS = {"neg": 0, "pos": 1}
_REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/[^/]+")
_IDX = {"train": "train", "test": "t10k"}

Examples = list[dict[str, Any]]


class Archives(NamedTuple):
    """The archives of a data set, and where they lie.

    Attributes:
        name: which data set.
        paths: the file of each archive.
        lacking: the package for want of which TFDS does not read them.
    """

    name: Name
    paths: Mapping[Archive, Path]
    lacking: str

    @property
    def directory(self) -> Path:
        """The folder of the archives."""
        return next(iter(self.paths.values())).parent

    @property
    def root(self) -> Path:
        """The data directory."""
        return self.directory.parents[1]

    def fingerprint(self) -> str:
        """A digest of name, size and time of every file; it changes when the data may have."""
        digest = hashlib.sha256(f"{self.name}\0{_READER}".encode())
        for path in self.paths.values():
            stat = path.stat()
            digest.update(f"\0{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        return digest.hexdigest()


def find(name: Name, root: Path, lacking: str) -> Archives | None:
    """The archives of a data set, or None where one is missing; sizes are looked at, not digests.

    Raises:
        UserError: a file has the name of an archive and is another.
    """
    paths = {archive: manual_dir(root) / archive.name for archive in archives(name)}
    for archive, path in paths.items():
        if path.exists() and (problem := misfit(archive, path)):
            raise wrong_file(archive, path, problem)
    return Archives(name, paths, lacking) if all(map(Path.exists, paths.values())) else None


def lacks(*packages: str) -> str | None:
    """The first of the packages that is not installed; None where all are."""
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


def reason(name: Name, package: str) -> str:
    """Why archives are read: half a sentence."""
    return f"TFDS cannot prepare {name} without {package}, which is not installed"


def check(source: Archives) -> None:
    """Raise `UserError` where an archive is not what it should be, down to the last bit."""
    for archive, path in source.paths.items():
        if problem := fault(archive, path):
            raise wrong_file(archive, path, problem)


def read(source: Archives, split: Split) -> Examples:
    """All examples of a split, as `tfds.read` gives them: text as bytes, images as uint8 arrays.

    Raises:
        UserError: an archive is not what it should be, down to the last bit.
    """
    check(source)
    paths = {archive.name: path for archive, path in source.paths.items()}
    try:
        keyed = _reviews(paths, split) if source.name == "imdb" else _images(paths, split)
        return _in_order(split, keyed)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise UserError(f"{source.directory} does not hold {source.name}: {brief(error)}") from None


def _in_order(split: Split, keyed: Iterable[tuple[str, dict[str, Any]]]) -> Examples:
    def place(example: tuple[str, dict[str, Any]]) -> bytes:
        return hashlib.md5(f"{split}{example[0]}".encode(), usedforsecurity=False).digest()

    return [example for _, example in sorted(keyed, key=place)]


def _reviews(paths: Mapping[str, Path], split: Split) -> Iterable[tuple[str, dict[str, Any]]]:
    """Path and example of every labelled review; the white space round a text is not its own."""
    (path,) = paths.values()
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            match = _REVIEW.fullmatch(member.name)
            if match and match[1] == split and (file := archive.extractfile(member)):
                yield member.name, {"text": file.read().strip(), "label": _LABELS[match[2]]}


def _images(paths: Mapping[str, Path], split: Split) -> Iterable[tuple[str, dict[str, Any]]]:
    """Place and example of every image: a header of big-endian int32, then bytes."""
    images, labels = (
        gzip.decompress(paths[f"{_IDX[split]}-{kind}-ubyte.gz"].read_bytes())
        for kind in ("images-idx3", "labels-idx1")
    )
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, _SIDE, _SIDE, 1)
    digits = np.frombuffer(labels, np.uint8, offset=8)
    examples = zip(pixels, digits, strict=True)
    for place, (image, digit) in enumerate(examples):
        yield str(place), {"image": image, "label": int(digit)}
