"""Kept arrays: read back as written, never trusted when damaged, never in the way."""

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments.config.cli import UserError
from experiments.data.tfds import data_root
from experiments.storage import array_cache
from experiments.storage.array_cache import cache_path, kept, load, pack, save, unpack

ARRAYS = {"tokens": np.arange(9, dtype=np.int32), "empty": np.zeros((0, 2)), "x": np.float32([1])}


def same(a, b) -> bool:
    pairs = [(a[name], b[name]) for name in a | b]
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in pairs)


def test_load_gives_what_was_saved(tmp_path) -> None:
    path = tmp_path / "new" / "imdb.npz"
    assert load(path) is None
    save(path, ARRAYS)
    assert same(load(path), ARRAYS)
    assert [file.name for file in path.parent.iterdir()] == ["imdb.npz"]


def test_no_flipped_bit_and_no_cut_is_trusted(tmp_path) -> None:
    path = tmp_path / "imdb.npz"
    save(path, ARRAYS)
    good = path.read_bytes()
    rng = random.Random(0)
    for _ in range(400):
        damaged = bytearray(good)
        damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        # Some bits carry nothing (times in the zip's headers): then the same is read. A name may
        # be another: then an array is missing.
        arrays = load(path)
        assert arrays is None or arrays.keys() != ARRAYS.keys() or same(arrays, ARRAYS)
    cuts = [rng.randrange(len(good)) for _ in range(30)]
    for size in [0, 1, len(good) // 2, len(good) - 1, *cuts]:
        path.write_bytes(good[:size])
        assert load(path) is None


def test_a_foreign_file_or_directory_is_not_read(tmp_path) -> None:
    (tmp_path / "text.npz").write_text("tokens")
    (tmp_path / "directory.npz").mkdir()
    for name in ("text.npz", "directory.npz"):
        assert load(tmp_path / name) is None


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left"):
        save(tmp_path / "imdb.npz", ARRAYS)
    assert list(tmp_path.iterdir()) == []


class Part(NamedTuple):
    """Two arrays."""

    tokens: np.ndarray
    labels: np.ndarray


def test_named_tuples_are_packed_and_unpacked() -> None:
    parts = [Part(np.arange(3), np.zeros(1)), Part(np.arange(4), np.ones(2))]
    arrays = pack(train=parts[0], test=parts[1])
    assert list(arrays) == ["train_tokens", "train_labels", "test_tokens", "test_labels"]
    for name, part in zip(("train", "test"), parts, strict=True):
        assert unpack(arrays, Part, name)[0] is part[0]
        assert unpack(arrays, Part, name)[1] is part[1]
    with pytest.raises(KeyError):
        unpack(arrays, Part, "validation")


def test_what_cannot_be_unpacked_is_made_again(tmp_path) -> None:
    said: list[str] = []
    made: list[int] = []

    def make() -> array_cache.Arrays:
        made.append(0)
        return ARRAYS

    def ask(path: Path) -> int:
        return kept(path, lambda arrays: int(arrays["tokens"][-1]), make, said.append)

    save(tmp_path / "x.npz", {"other": np.zeros(3)})
    assert [ask(tmp_path / "x.npz") for _ in range(3)] == [8, 8, 8]
    assert (len(made), said) == (1, [])
    (tmp_path / "file").write_text("")
    assert ask(tmp_path / "file" / "x.npz") == 8
    assert len(made) == 2
    assert said[0].startswith(f"not kept for the next start: {tmp_path / 'file' / 'x.npz'} cannot")


def test_the_key_follows_what_makes_the_arrays(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cache_path("imdb", "print", 1)
    assert path.parent == tmp_path / "jaxrnn"
    assert path == cache_path("imdb", "print", 1)
    others = {cache_path(*made_by) for made_by in (("imdb", "x", 1), ("x", "print", 1))}
    assert len(others | {path, cache_path("imdb", "print", 2)}) == 4


@pytest.mark.parametrize("unusable", ["", "relative/path"])
def test_without_a_usable_variable_the_home_is_taken(monkeypatch, unusable) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", unusable)
    assert cache_path("imdb", "x").parent == Path.home() / ".cache" / "jaxrnn"


def test_without_a_home_nothing_is_kept(monkeypatch) -> None:
    """As in a container that runs under a number without a name."""

    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", no_home)
    path = cache_path("imdb", "x")
    assert load(path) is None
    with pytest.raises(UserError, match="Not a directory"):
        save(path, ARRAYS)
    with pytest.raises(UserError, match=r"there is no home directory .*; give --data-dir"):
        data_root("~/x")
