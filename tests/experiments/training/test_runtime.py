"""Large blocks are mapped once; what was compiled is kept, never believed when damaged."""

import os
import platform
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments.training import runtime

# Page faults while a block of 64 MB is taken, written and given back ten times.
COUNT = """
import resource, sys
import numpy as np
from experiments.training import runtime

assert sys.argv[1] == "as it is" or runtime.reuse_memory()
np.ones(2**24, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**24, np.float32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that unmaps them")
def test_a_large_block_is_used_again() -> None:
    # With huge pages a fault is 2 MB and there are 320 for the ten blocks, else 163,840.
    assert faults("reused") < faults("as it is") / 10


def test_where_there_is_no_glibc_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not runtime.reuse_memory()


# --- compiled steps --------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch) -> Iterator[Path]:
    """A cache of its own, programs of any size kept, and jax without the tests' directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "WORTH", 0.0)
    of_all_tests = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield tmp_path / "cache" / "jaxrnn"
    jax.config.update("jax_compilation_cache_dir", of_all_tests)
    compilation_cache.reset_cache()


@pytest.fixture
def lookups() -> Iterator[list[str]]:
    """Of each program that was asked for, whether it was there: "hits" or "misses"."""
    events: list[str] = []

    def listen(event: str, **_: object) -> None:
        if event.startswith("/jax/compilation_cache/cache_"):
            events.append(event.rsplit("_", 1)[1])

    jax.monitoring.register_event_listener(listen)
    yield events
    jax.monitoring.unregister_event_listener(listen)


def compute() -> float:
    """What one program gives, compiled anew in this process."""
    x = jax.device_put(np.arange(7, dtype=np.float32))
    with runtime.compiled_steps_kept():
        return float(jax.jit(lambda x: jnp.sum(jnp.tanh(x) * 3))(x))


def entry(place: Path) -> Path:
    (path,) = place.glob("compiled-*/*-cache")
    return path


def test_the_next_run_compiles_nothing(place, lookups) -> None:
    first = compute()
    assert compute() == first
    assert lookups == ["misses", "hits"]
    assert entry(place).parent.stat().st_mode & 0o777 == 0o700


def test_no_flipped_bit_and_no_cut_is_run(place, recwarn) -> None:
    right = compute()
    path, rng = entry(place), random.Random(0)
    content = path.read_bytes()
    damaged = [content[: rng.randrange(len(content))] for _ in range(5)]
    for _ in range(25):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    for bad in damaged:
        path.write_bytes(bad)
        assert compute() == right
    assert not recwarn.list


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system's files have no such owners")
@pytest.mark.parametrize("whose", ["anybody's", "another's"])
def test_nothing_is_run_that_somebody_else_may_have_written(place, lookups, monkeypatch, whose):
    compute()
    if whose == "anybody's":
        entry(place).parent.chmod(0o722)
    else:
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
    compute()
    assert lookups == ["misses"], "the second run was given no directory at all"


def test_the_oldest_make_room(place, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "MOST", 1)
    compute()
    first = entry(place)
    os.utime(first, (1, 1))
    with runtime.compiled_steps_kept():
        jax.jit(lambda x: jnp.sum(jnp.cos(x) * 5))(np.ones(3, np.float32))
    with runtime.compiled_steps_kept():
        assert entry(place) != first


def test_without_a_place_everything_is_compiled(place, recwarn) -> None:
    place.parent.mkdir()
    place.write_text("a file where the directory would be")
    assert compute() == compute()
    assert not recwarn.list


def test_switched_off_by_jaxs_own_switch(place, lookups) -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert compute() == compute()
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not lookups
    assert not place.exists()


def test_a_directory_that_jax_was_given_is_left_to_it(place, tmp_path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    compilation_cache.reset_cache()
    compute()
    assert not place.exists()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")


def test_jax_is_left_as_it_was(place) -> None:
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_enable_xla_caches",
    )  # fmt: skip
    before = [getattr(jax.config, name) for name in names]
    with pytest.raises(ZeroDivisionError), runtime.compiled_steps_kept():
        raise ZeroDivisionError
    assert [getattr(jax.config, name) for name in names] == before
