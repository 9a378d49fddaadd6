"""Prepares the process for a training: memory that is used again, compiled steps that are kept."""

import contextlib
import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from experiments.runs.environment import processor, versions
from experiments.storage.array_cache import cache_path

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1

# A run's compiled steps are some 20 files, of about 1 MB in all; the oldest make room.
MOST = 1000
# Seconds: what compiles faster is not worth a file.
WORTH = 0.03


def reuse_memory() -> bool:
    """Let blocks of any size come from the heap, and stay there; whether that could be done.

    glibc maps a block of more than 32 MB anew at each allocation, whatever its threshold is set
    to, at the cost of a page fault for every 4 KB. XLA takes one block for all that a step keeps:
    42 MB for LSTM(32) over 128 reviews of 500 words, 10,000 faults, 12 of 29 ms.

    For the whole process, so only for a program that is its own: a library leaves this alone. To
    be called before there are threads, for each would have a heap of its own, and smaller.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False  # another C library, which has another allocator
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    return all(mallopt(name, value) for name, value in settings)


@contextlib.contextmanager
def compiled_steps_kept() -> Iterator[None]:
    """Let jax keep on disk what it compiles here, because that is most of a run's first epoch.

    A directory that jax was given (`JAX_COMPILATION_CACHE_DIR`) is left to it, and with
    `JAX_ENABLE_COMPILATION_CACHE=0` nothing is kept.
    """
    config: Any = jax.config  # its settings have no types
    directory = None
    if config.jax_compilation_cache_dir is None and config.jax_enable_compilation_cache:
        # jax tells programs, versions and devices apart, and not what the processor can do.
        directory = _own(cache_path("compiled", versions(), processor()).with_suffix(""))
    if directory is None:
        yield
        return
    ours = {
        "jax_compilation_cache_dir": str(directory),
        "jax_persistent_cache_min_compile_time_secs": WORTH,
        # XLA's own would put the directory's name into every key.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    before = {name: getattr(config, name) for name in ours}
    _prune(directory)
    try:
        for name, value in ours.items():
            config.update(name, value)
        # jax asks once whether there is a directory, and may have done so.
        compilation_cache.reset_cache()
        with warnings.catch_warnings():
            # A damaged entry or a full disk costs a compilation, and is no matter for the screen.
            warnings.filterwarnings("ignore", message="Error (writing|reading) persistent")
            yield
    finally:
        for name, value in before.items():
            config.update(name, value)
        compilation_cache.reset_cache()


def _prune(directory: Path) -> None:
    """Delete the oldest files beyond `MOST`.

    jax would do it by `jax_compilation_cache_max_size`, but at every write it then reads the times
    of all entries: 0.4 s a program where there were 1,600.
    """
    with contextlib.suppress(OSError):  # another run does the same, or nothing can be deleted
        files = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST]:
            path.unlink()


def _own(directory: Path) -> Path | None:
    """The directory, made if need be, where nobody else can write: what is in it will be run."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
        private = not hasattr(os, "getuid") or (
            status.st_uid == os.getuid() and not status.st_mode & 0o022
        )
        return directory if private and os.access(directory, os.W_OK) else None
    except OSError:
        return None  # nowhere to write: everything is compiled
