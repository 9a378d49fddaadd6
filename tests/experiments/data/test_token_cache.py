"""Kept tokens: read back as written, never trusted when damaged, never in the way."""

import random
from pathlib import Path

import numpy as np
import pytest

from experiments.config.cli import UserError
from experiments.data import text, token_cache
from experiments.data.text import index
from experiments.data.tfds import data_root


@pytest.fixture
def tokens() -> token_cache.Tokens:
    return index((["good good film", "bad film's end", "café"], [1, 0, 1]), (["good end"], [1]))


def same(a: token_cache.Tokens, b: token_cache.Tokens) -> bool:
    arrays = zip([*a[0], *a[1]], [*b[0], *b[1]], strict=True)
    equal = all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in arrays)
    return equal and a[2] == b[2]


def test_load_gives_what_was_saved(tmp_path, tokens) -> None:
    path = tmp_path / "new" / "imdb.npz"
    assert token_cache.load(path) is None
    token_cache.save(path, tokens)
    assert same(token_cache.load(path), tokens)
    assert [file.name for file in path.parent.iterdir()] == ["imdb.npz"]


def test_a_vocabulary_without_words(tmp_path) -> None:
    tokens = index(([""], [1]), (["a"], [0]))
    token_cache.save(tmp_path / "x.npz", tokens)
    assert same(token_cache.load(tmp_path / "x.npz"), tokens)


def test_no_flipped_bit_and_no_cut_is_trusted(tmp_path, tokens) -> None:
    path = tmp_path / "imdb.npz"
    token_cache.save(path, tokens)
    good = path.read_bytes()
    rng = random.Random(0)
    for _ in range(400):
        damaged = bytearray(good)
        damaged[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        # Some bits carry nothing (times in the zip's headers): then the same is read.
        got = token_cache.load(path)
        assert got is None or same(got, tokens)
    for size in [
        0,
        1,
        len(good) // 2,
        len(good) - 1,
        *(rng.randrange(len(good)) for _ in range(30)),
    ]:
        path.write_bytes(good[:size])
        assert token_cache.load(path) is None


def test_a_foreign_file_or_directory_is_not_read(tmp_path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    (tmp_path / "text.npz").write_text("tokens")
    (tmp_path / "directory.npz").mkdir()
    for name in ("other.npz", "text.npz", "directory.npz"):
        assert token_cache.load(tmp_path / name) is None


def test_a_write_that_fails_leaves_nothing(tmp_path, tokens, monkeypatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left"):
        token_cache.save(tmp_path / "imdb.npz", tokens)
    assert list(tmp_path.iterdir()) == []


def test_the_key_follows_what_makes_the_tokens(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = token_cache.cache_path("imdb", "print")
    assert path.parent == tmp_path / "jaxrnn"
    assert path == token_cache.cache_path("imdb", "print")
    others = {path, token_cache.cache_path("imdb", "other"), token_cache.cache_path("x", "print")}
    monkeypatch.setattr(token_cache, "TOKENIZER", text.TOKENIZER + 1)
    others.add(token_cache.cache_path("imdb", "print"))
    assert len(others) == 4


@pytest.mark.parametrize("unusable", ["", "relative/path"])
def test_without_a_usable_variable_the_home_is_taken(monkeypatch, unusable) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", unusable)
    assert token_cache.cache_path("imdb", "x").parent == Path.home() / ".cache" / "jaxrnn"


def test_without_a_home_nothing_is_kept(monkeypatch, tokens) -> None:
    """As in a container that runs under a number without a name."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", _no_home)
    path = token_cache.cache_path("imdb", "x")
    assert token_cache.load(path) is None
    with pytest.raises(UserError, match="Not a directory"):
        token_cache.save(path, tokens)
    with pytest.raises(UserError, match=r"there is no home directory .*; give --data-dir"):
        data_root("~/x")


def _no_home(path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")
