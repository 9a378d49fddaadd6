"""Keeps arrays on disk for the next start: `$XDG_CACHE_HOME/jaxrnn/NAME-KEY.npz`, else `~/.cache`.

The key is a digest of everything that makes the arrays, so a file under it is never out of date.
A file is written aside and renamed, and every array in it carries a checksum (that of the zip
format), so it is never half there and never trusted when damaged; both only cost the time to make
it again.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.config.cli import UserError
from experiments.storage.files import replacing, writing

Arrays = dict[str, np.ndarray]
Say = Callable[[str], None]
T = TypeVar("T")


def cache_path(name: str, *made_by: object) -> Path:
    """Where the arrays that are made by all this are kept."""
    key = hashlib.sha256("\0".join(map(str, (name, *made_by))).encode()).hexdigest()[:24]
    # An empty or relative $XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification).
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        base = base if base.is_absolute() else Path("~/.cache").expanduser()
    except RuntimeError:
        base = Path(os.devnull)  # no home: nothing is kept, and `save` says why
    return base / "jaxrnn" / f"{name}-{key}.npz"


def kept(path: Path, unpack: Callable[[Arrays], T], make: Callable[[], Arrays], say: Say) -> T:
    """What `unpack` reads from the arrays at `path`, which are made first where none can be read.

    `unpack` raises where the arrays are not those that it needs. `say` is told if new ones cannot
    be kept.
    """
    arrays = load(path)
    if arrays is not None:
        with contextlib.suppress(Exception):
            return unpack(arrays)
    arrays = make()
    try:
        save(path, arrays)
    except UserError as error:
        say(f"not kept for the next start: {error}")
    return unpack(arrays)


def load(path: Path) -> Arrays | None:
    """What `save` wrote, or None where nothing usable is there."""
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            return dict(file)
    # Damage shows as a dozen kinds of exception; the answer to all of them is to make it again.
    except Exception:
        return None


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays; `UserError` where that cannot be done, and then nothing is left."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, shared=True) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def pack(**parts: Any) -> Arrays:
    """The fields of named tuples of arrays as one dict: `train_labels`."""
    return {f"{name}_{key}": a for name, part in parts.items() for key, a in part._asdict().items()}


def unpack(arrays: Arrays, kind: type[T], name: str) -> T:
    """One of the named tuples that were packed; `KeyError` where a field is missing."""
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return kind(*(arrays[f"{name}_{field}"] for field in fields))
