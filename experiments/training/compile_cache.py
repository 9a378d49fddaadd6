"""Compiled steps kept on disk: compiling is three quarters of a run's first epoch.

jax keeps them in a directory if it is told to, but it writes in place, believes what it finds and
throws nothing away. So it is given a directory of this process alone, filled from one checked file
(see `array_cache`) and packed into such a file again.
"""

import contextlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from experiments.config.cli import UserError
from experiments.config.settings import flatten, shown
from experiments.runs.environment import processor, versions
from experiments.storage import array_cache

# Files of about 1 MB, each for the settings of a run but its seed.
NAME, MOST = "compiled", 32
# Seconds: what compiles faster is not worth a file.
WORTH = 0.03


@contextlib.contextmanager
def kept(task: str, settings: Any) -> Iterator[None]:
    """Within this, what an earlier run with these settings (but its seed) compiled is not again.

    jax itself tells programs, versions and devices apart; task and settings only decide what is
    kept together. A directory that jax was given (`JAX_COMPILATION_CACHE_DIR`) is left to it, and
    with `JAX_ENABLE_COMPILATION_CACHE=0` nothing is kept.
    """
    config: Any = jax.config  # its settings have no types
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        yield
        return
    made_by = shown(flatten(settings)) | {"seed": None}
    # The processor's abilities are the one thing that jax does not ask for.
    path = array_cache.cache_path(NAME, task, made_by, versions(), processor())
    with contextlib.ExitStack() as held:
        try:
            name = held.enter_context(tempfile.TemporaryDirectory(prefix="jaxrnn-compiled-"))
            directory = Path(name)
            before = _unpack(path, directory)
        except OSError:
            directory, before = None, set()  # nowhere to write: everything is compiled
        if directory is not None:
            held.enter_context(_in(directory))
        try:
            yield
        finally:
            if directory is not None:
                with contextlib.suppress(OSError, UserError):
                    _pack(path, directory, before)


@contextlib.contextmanager
def _in(directory: Path) -> Iterator[None]:
    config = jax.config
    ours = {
        "jax_compilation_cache_dir": str(directory),
        "jax_persistent_cache_min_compile_time_secs": WORTH,
        # XLA's own would put the directory's name into every key.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    before = {name: getattr(config, name) for name in ours}
    try:
        for name, value in ours.items():
            config.update(name, value)
        # jax asks once whether there is a directory, and may have done so.
        compilation_cache.reset_cache()
        with warnings.catch_warnings():
            # A disk that is full when a program is to be kept is no matter for the user's screen.
            warnings.filterwarnings("ignore", message="Error (writing|reading) persistent")
            yield
    finally:
        for name, value in before.items():
            config.update(name, value)
        compilation_cache.reset_cache()


def _unpack(path: Path, directory: Path) -> set[str]:
    """Write the kept files into the directory; their names."""
    names: set[str] = set()
    if not _is_own(path):
        return names
    for name, content in (array_cache.load(path) or {}).items():
        # From a file, after all: nothing is written elsewhere.
        if re.fullmatch(r"[\w-]+", name) and content.dtype == np.uint8:
            (directory / name).write_bytes(content.tobytes())
            names.add(name)
    return names


def _is_own(path: Path) -> bool:
    """Whether nobody else can have written the file: what is in it will be run."""
    try:
        found = path.stat()
    except OSError:
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def _pack(path: Path, directory: Path, before: set[str]) -> None:
    """Keep what the directory holds, if there is anything new, and drop the oldest such files."""
    files = {file.name: file for file in directory.iterdir() if file.is_file()}
    if not files.keys() - before:
        if files:
            path.touch()  # used today
        return
    array_cache.save(
        path, {name: np.frombuffer(file.read_bytes(), np.uint8) for name, file in files.items()}
    )
    others = sorted(path.parent.glob(f"{NAME}-*.npz"), key=lambda file: file.stat().st_mtime)
    for old in others[:-MOST]:
        old.unlink(missing_ok=True)
