"""Kept programs: found again, never believed when damaged, never in the way."""

import dataclasses
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments.config.imdb import Settings
from experiments.storage import array_cache
from experiments.training import compile_cache


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Iterator[Path]:
    """A cache of its own, programs of any size kept, and jax without the tests' directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compile_cache, "WORTH", 0.0)
    of_all_tests = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield tmp_path / "cache" / "jaxrnn"
    jax.config.update("jax_compilation_cache_dir", of_all_tests)
    compilation_cache.reset_cache()


@pytest.fixture
def found() -> Iterator[list[str]]:
    """Of each program that was asked for, whether it was there: "hits" or "misses"."""
    seen: list[str] = []

    def listen(event: str, **_: object) -> None:
        if event.startswith("/jax/compilation_cache/cache_"):
            seen.append(event.rsplit("_", 1)[1])

    jax.monitoring.register_event_listener(listen)
    yield seen
    jax.monitoring.unregister_event_listener(listen)


DEFAULT = Settings()


def compute(settings: Settings = DEFAULT, task: str = "imdb") -> float:
    """What one program gives, compiled anew in this process."""
    x = jax.device_put(np.arange(7, dtype=np.float32))
    with compile_cache.kept(task, settings):
        return float(jax.jit(lambda x: jnp.sum(jnp.tanh(x) * 3))(x))


def of_seed(seed: int) -> Settings:
    return dataclasses.replace(DEFAULT, training=dataclasses.replace(DEFAULT.training, seed=seed))


def test_the_next_run_compiles_nothing_whatever_its_seed(place, found) -> None:
    first = compute()
    assert found == ["misses"]
    kept = list(place.iterdir())
    assert len(kept) == 1
    assert compute(of_seed(1)) == first
    assert found == ["misses", "hits"]
    assert list(place.iterdir()) == kept


def test_another_task_and_other_settings_are_kept_apart(place, found) -> None:
    compute()
    compute(task="mnist")
    other = dataclasses.replace(DEFAULT, model=dataclasses.replace(DEFAULT.model, units=33))
    compute(other)
    assert found == ["misses"] * 3
    assert len(list(place.iterdir())) == 3


def test_no_flipped_bit_and_no_cut_is_run(place, found) -> None:
    right = compute()
    (path,) = place.iterdir()
    good = array_cache.load(path)
    assert good is not None
    content, rng = path.read_bytes(), random.Random(0)
    damaged = [content[: rng.randrange(len(content))] for _ in range(5)]
    for _ in range(25):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    for bad in damaged:
        path.write_bytes(bad)
        now = array_cache.load(path)
        # Some bits carry nothing (times in the zip's headers): then the same is read.
        assert now is None or all(np.array_equal(now[name], good[name]) for name in good)
        assert compute() == right
    # What was damaged has been written anew.
    again = array_cache.load(path)
    assert again is not None
    assert again.keys() == good.keys()


def test_a_file_from_elsewhere_writes_nowhere_else(place, tmp_path) -> None:
    compute()
    (path,) = place.iterdir()
    outside = tmp_path / "outside"
    names = ["../outside", str(outside), "sub/outside", "..", "."]
    arrays = {name: np.zeros(3, np.uint8) for name in names}
    into = tmp_path / "directory"
    into.mkdir()
    array_cache.save(path, arrays | {"plain": np.zeros(3, np.uint8), "real": np.zeros(3)})
    assert compile_cache._unpack(path, into) == {"plain"}
    assert [file.name for file in into.iterdir()] == ["plain"]
    assert not outside.exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system's files have no such owners")
@pytest.mark.parametrize("whose", ["anybody's", "another's"])
def test_nothing_is_run_that_somebody_else_may_have_written(place, found, monkeypatch, whose):
    compute()
    (path,) = place.iterdir()
    if whose == "anybody's":
        path.chmod(0o622)
    else:
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
    compute()
    assert found == ["misses", "misses"]


def test_the_oldest_make_room(place, monkeypatch) -> None:
    monkeypatch.setattr(compile_cache, "MOST", 2)
    compute(task="a")
    (first,) = place.iterdir()
    os.utime(first, (1, 1))
    compute(task="b")
    (second,) = set(place.iterdir()) - {first}
    os.utime(second, (2, 2))
    compute(task="a")  # used: now the younger one
    compute(task="c")
    assert first in set(place.iterdir())
    assert second not in set(place.iterdir())
    assert len(list(place.iterdir())) == 2


def nowhere_to_work(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / "is not there"))


def nowhere_to_keep(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.parent.mkdir()
    place.write_text("a file where the directory would be")


@pytest.mark.parametrize("obstacle", [nowhere_to_work, nowhere_to_keep])
def test_without_a_place_everything_is_compiled(
    obstacle: Callable[[Path, pytest.MonkeyPatch], None], place, monkeypatch, recwarn
) -> None:
    obstacle(place, monkeypatch)
    assert compute() == compute()
    assert not place.is_dir()
    assert not recwarn.list


def test_switched_off_by_jaxs_own_switch(place, found) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert compute() == compute()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not found
    assert not place.exists()


def test_a_directory_that_jax_was_given_is_left_to_it(place, tmp_path, found) -> None:
    own = tmp_path / "own"
    jax.config.update("jax_compilation_cache_dir", str(own))
    compilation_cache.reset_cache()
    compute()
    assert not place.exists()
    assert jax.config.jax_compilation_cache_dir == str(own)


def test_jax_is_left_as_it_was(place, tmp_path, monkeypatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    names = ("jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_enable_xla_caches")
    before = [getattr(jax.config, name) for name in names]
    with pytest.raises(ZeroDivisionError), compile_cache.kept("imdb", DEFAULT):
        raise ZeroDivisionError
    assert jax.config.jax_compilation_cache_dir is None
    assert [getattr(jax.config, name) for name in names] == before
    assert not list(work.iterdir())
