"""The files that TFDS makes a data set of: their names, sizes, checksums, and where they go.

All of it is read from TFDS's own registry, so it is right for the TFDS that is installed.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

from experiments.config.cli import UserError
from experiments.data.tfds import BUILDERS, Name


class Archive(NamedTuple):
    """A file that a data set is made of: name, bytes, SHA-256 in hexadecimal, and its address."""

    name: str
    size: int
    sha256: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}, {self.size:,} bytes, SHA-256 {self.sha256}"


def archives(name: Name) -> list[Archive]:
    """The files that TFDS makes a data set of, from its registry of checksums."""
    import tensorflow_datasets as tfds

    urls = tfds.builder_cls(BUILDERS[name].split("/")[0]).url_infos
    return [
        Archive(info.filename, int(info.size), info.checksum, url) for url, info in urls.items()
    ]


def manual_dir(root: Path) -> Path:
    """Where TFDS looks for files that were fetched by hand."""
    return root / "downloads" / "manual"


def fault(archive: Archive, path: Path) -> str | None:
    """What is wrong with the file at `path`, or None if it is this archive.

    Raises:
      UserError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size != archive.size:
            return f"it has {size:,} bytes, not {archive.size:,}"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as mistake:
        raise UserError(f"{path} cannot be read: {mistake.strerror}") from None
    return None if found == archive.sha256 else f"its SHA-256 is {found}, not {archive.sha256}"
