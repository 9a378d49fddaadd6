"""What TFDS's registry says of the files, and how a wrong one shows."""

import hashlib

import pytest

from experiments.config.cli import UserError
from experiments.data.archives import Archive, archives, fault


def test_archives_come_from_the_registry() -> None:
    (imdb,) = archives("imdb")
    assert (imdb.name, imdb.size) == ("aclImdb_v1.tar.gz", 84_125_825)
    assert imdb.url.endswith(imdb.name)
    assert len(imdb.sha256) == 64
    assert str(imdb) == f"aclImdb_v1.tar.gz, 84,125,825 bytes, SHA-256 {imdb.sha256}"
    assert len(archives("mnist")) == 4


def test_fault(tmp_path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"abc")
    archive = Archive("a.gz", 3, hashlib.sha256(b"abc").hexdigest(), "http://x/a.gz")
    assert fault(archive, path) is None
    assert fault(archive._replace(size=1234), path) == "it has 3 bytes, not 1,234"
    assert fault(archive._replace(sha256="f" * 64), path).startswith("its SHA-256 is ba7816bf")
    with pytest.raises(UserError) as caught:
        fault(archive, tmp_path / "none")
    assert "cannot be read" in str(caught.value)
