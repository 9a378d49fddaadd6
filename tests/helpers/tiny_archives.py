"""Writes small archives of the layout of the real ones, and puts them in their place."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tiny_imdb import Reviews

from experiments.data import archives, raw
from experiments.data.archives import Archive
from experiments.data.images import ImageData


def reviews(train: Mapping[str, bytes], test: Mapping[str, bytes]) -> dict[str, bytes]:
    """IMDB's archive, by name; texts by `pos/0_9.txt`. Around them stands what nobody reads."""
    files = {"README": b"Large Movie Review Dataset", "train/urls_pos.txt": b"http://x\n" * 3}
    files |= {"imdbEr.txt": b"0.5\n", "train/unsup/0_0.txt": b"nobody said", "train/posh": b"no"}
    files |= {f"test/{name}": text for name, text in test.items()}
    files |= {f"train/{name}": text for name, text in train.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for folder in ("", "/test", "/train", "/train/pos"):
            member = tarfile.TarInfo(f"aclImdb{folder}")
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return {"aclImdb_v1.tar.gz": packed.getvalue()}


def named(split: str, wanted: Reviews) -> dict[str, bytes]:
    """Names for texts, such that TFDS would give them in this order.

    Each text gets the first number that puts it into its own interval of the digests.
    """
    names: dict[tuple[int, int], str] = {}
    left = {(place, label) for place, (_, label) in enumerate(wanted)}
    number = 0
    while left:
        for label, folder in enumerate(("neg", "pos")):
            name = f"{folder}/{number}_{(3, 8)[label]}.txt"
            digest = hashlib.md5(f"{split}aclImdb/{split}/{name}".encode()).digest()
            place = int.from_bytes(digest) * len(wanted) >> 128
            if (place, label) in left:
                left.remove((place, label))
                names[place, label] = name
        number += 1
    return {
        names[place, label]: f" {text}\n".encode() for place, (text, label) in enumerate(wanted)
    }


def digits(data: ImageData) -> dict[str, bytes]:
    """MNIST's four archives, by name: in the order of the data, which TFDS does not keep."""
    files = {}
    for split, part in (("train", data.train), ("t10k", data.test)):
        n = len(part.labels)
        for kind, header, content in (
            ("images-idx3", [2051, n, 28, 28], part.pixels),
            ("labels-idx1", [2049, n], part.labels.astype(np.uint8)),
        ):
            bare = np.array(header, ">i4").tobytes() + content.tobytes()
            files[f"{split}-{kind}-ubyte.gz"] = gzip.compress(bare)
    return files


def put(monkeypatch, name: str, files: Mapping[str, bytes], root: Path | None = None) -> None:
    """Let these be the files that a data set is made of; write them under `root`, if given."""
    known = {(k, len(v)): hashlib.sha256(v).hexdigest() for k, v in files.items()}
    monkeypatch.setattr(archives, "_FILES", {**archives._FILES, name: known})
    if root is not None:
        folder = archives.manual_dir(root)
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)


def archive(name: str, content: bytes, folder: str) -> Archive:
    """A file as it should be, at an address."""
    return Archive(name, len(content), hashlib.sha256(content).hexdigest(), folder + name)


def lack(monkeypatch, package: str) -> None:
    """Let one package be missing on this machine."""
    monkeypatch.setattr(raw, "lacks", lambda *names: package if package in names else None)
