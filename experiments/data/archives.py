"""Names the archives that the data sets are made of, and says where they go and what is wrong."""

import hashlib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.config.cli import UserError
from experiments.data.tfds import Name


class Archive(NamedTuple):
    """A file that a data set is made of: name, bytes, SHA-256 in hexadecimal, and its address."""

    name: str
    size: int
    sha256: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}, {self.size:,} bytes, SHA-256 {self.sha256}"


_FOLDERS: Mapping[Name, str] = {
    "imdb": "http://ai.stanford.edu/~amaas/data/sentiment/",
    "mnist": "https://storage.googleapis.com/cvdf-datasets/mnist/",
}

# Name and bytes, SHA-256. A test holds them to the registry of TFDS, which may be missing here.
_FILES: Mapping[Name, Mapping[tuple[str, int], str]] = {
    "imdb": {
        ("aclImdb_v1.tar.gz", 84_125_825): (
            "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"
        )
    },
    "mnist": {
        ("t10k-images-idx3-ubyte.gz", 1_648_877): (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        ("t10k-labels-idx1-ubyte.gz", 4_542): (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
        ("train-images-idx3-ubyte.gz", 9_912_422): (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        ("train-labels-idx1-ubyte.gz", 28_881): (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
    },
}


def archives(name: Name) -> list[Archive]:
    """The files that a data set is made of."""
    return [
        Archive(file, size, sha256, _FOLDERS[name] + file)
        for (file, size), sha256 in _FILES[name].items()
    ]


def manual_dir(root: Path) -> Path:
    """Where files go that were fetched by hand, or by us: TFDS looks there too."""
    return root / "downloads" / "manual"


def misfit(archive: Archive, path: Path) -> str | None:
    """Why the file at `path` cannot be this archive, or None; its content is not looked at.

    Raises:
        UserError: it cannot be looked at.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(about.st_mode):
        return "it is a directory"
    size = about.st_size
    return None if size == archive.size else f"it has {size:,} bytes, not {archive.size:,}"


def fault(archive: Archive, path: Path) -> str | None:
    """What is wrong with the file at `path`, or None if it is this archive.

    Raises:
        UserError: it cannot be read.
    """
    if problem := misfit(archive, path):
        return problem
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return None if digest == archive.sha256 else f"its SHA-256 is {digest}, not {archive.sha256}"


def wrong_file(archive: Archive, path: Path, problem: str) -> UserError:
    """The mistake that the file at `path` is not this archive."""
    return UserError(f"{path} is not the right file: {problem}; put {archive.url} in its place")
