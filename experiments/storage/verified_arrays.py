"""Keeps a tree of arrays in a directory: what is read is what was written, or it is an error.

`arrays/` is written and read by Orbax, as one flat dict from a readable name (`params/cell/wx`)
to an array. Orbax takes every dtype, puts many arrays into few files and stores them as JSON and
raw bytes, so that reading can execute nothing; but (orbax-checkpoint 0.12) it loads flipped bits,
reads lost chunks as zeros and casts, all silently. So `manifest.json` holds the caller's `content`,
dtype, shape and SHA-256 of every array, the SHA-256 of every file, and one of all that. Files are
compared before Orbax opens them (its readers sometimes answer damage with a traceback of their
own), arrays after it has read them.
"""

import contextlib
import gc
import hashlib
import json
import os
import sys
import time
import typing
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config.cli import UserError
from experiments.storage.files import sync
from experiments.storage.quiet import quiet

if typing.TYPE_CHECKING:
    import numpy as np

PyTree = Any
ARRAYS, MANIFEST = "arrays", "manifest.json"


class DamagedError(UserError):
    """The files are not what was written."""


class Entry(NamedTuple):
    """What is known about an array without reading it."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str = ""

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


class Manifest(NamedTuple):
    """All but the arrays themselves; `files` are named from the directory on."""

    content: dict[str, Any]
    arrays: dict[str, Entry]
    files: dict[str, str]


def write(directory: Path, tree: PyTree, content: dict[str, Any]) -> None:
    """Write `tree` and `content` into a new directory; on return they are on disk and read back.

    Leaves are arrays and numbers of any dtype that Orbax knows, `content` is what JSON can hold
    (tuples return as lists, keys as strings); else `TypeError`, before a file is made.
    """
    content = json.loads(json.dumps(content))
    arrays = {name: _host(name, leaf) for name, leaf in names(tree).items()}
    entries = {name: _entry(array) for name, array in arrays.items()}
    directory.mkdir(parents=True)
    _reserve(directory, sum(array.nbytes + 1_000 for array in arrays.values()) + 50_000)
    filled = {name: array for name, array in arrays.items() if array.size}  # Orbax: no empty ones
    if filled:
        with _orbax() as (ocp, checkpointer):
            checkpointer.save(_real(directory), args=ocp.args.PyTreeSave(filled))
    paths = sorted(path for path in (directory / ARRAYS).rglob("*") if path.is_file())
    files = {path.relative_to(directory).as_posix(): _file_digest(path) for path in paths}
    sealed: dict[str, Any] = {"content": content, "arrays": entries, "files": files}
    sealed["sha256"] = _digest(sealed)
    (directory / MANIFEST).write_text(json.dumps(sealed))
    read_arrays(directory, read_manifest(directory))
    for path in (directory, *directory.rglob("*")):
        sync(path)


def read_manifest(directory: Path) -> Manifest:
    """The manifest, its own digest checked, without a look at the arrays."""
    try:
        sealed = json.loads((directory / MANIFEST).read_bytes())
        if sealed.pop("sha256") != _digest(sealed):
            raise ValueError("its digest differs")
        entries = sealed["arrays"].items()
        arrays = {name: Entry(str(d), tuple(map(int, s)), str(h)) for name, (d, s, h) in entries}
        return Manifest(dict(sealed["content"]), arrays, dict(sealed["files"]))
    except FileNotFoundError:
        raise DamagedError(f"{directory} has no {MANIFEST}") from None
    except PermissionError as error:
        raise UserError(f"cannot read {directory}: {line(error)}") from error
    except Exception as error:
        raise DamagedError(f"{directory / MANIFEST} is damaged: {line(error)}") from error


def read_arrays(
    directory: Path, manifest: Manifest, wanted: Collection[str] | None = None
) -> dict[str, "np.ndarray"]:
    """The arrays in `wanted` (all by default), every file and array as the manifest has it."""
    import numpy as np

    _check_files(directory, manifest)
    entries = {n: manifest.arrays[n] for n in (manifest.arrays if wanted is None else wanted)}
    filled = {name: 0 for name, entry in entries.items() if 0 not in entry.shape}
    try:
        arrays = {n: np.zeros(e.shape, e.dtype) for n, e in entries.items() if n not in filled}
        if filled:
            with _orbax() as (ocp, checkpointer):
                kinds = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in filled}
                arguments = ocp.args.PyTreeRestore(filled, restore_args=kinds, partial_restore=True)
                arrays |= checkpointer.restore(_real(directory), args=arguments)
        read = {name: _entry(arrays[name]) for name in entries}
    except Exception as error:
        # Not damage, the files being right: no memory, or a version of Orbax that cannot read them.
        raise UserError(f"Orbax cannot read {directory}: {line(error)}") from error
    for name, entry in entries.items():
        if read[name] != entry:
            was, now = (f"{e} {e.sha256[:12]}" for e in (entry, read[name]))
            raise DamagedError(f"{directory} is damaged: {name} was written as {was}, is {now}")
    return {name: arrays[name] for name in entries}


def restore(directory: Path, manifest: Manifest, like: PyTree, *, part: bool = False) -> PyTree:
    """The tree, each leaf with the type, dtype, shape and sharding that it has in `like`.

    `like` holds arrays, `jax.ShapeDtypeStruct`s or numbers. `UserError` where its names, dtypes
    or shapes are not those written; with `part`, it may leave names out. Nothing is cast.
    """
    import jax
    import numpy as np

    wanted = names(like)
    for name, leaf in wanted.items():
        if name not in manifest.arrays:
            raise UserError(f"{directory} has no {name}, which is expected here")
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        expected, saved = Entry(str(dtype), tuple(np.shape(leaf))), manifest.arrays[name]
        if saved[:2] != expected[:2]:
            raise UserError(f"{name} is {saved} in {directory}; {expected} is expected here")
    extra = manifest.arrays.keys() - wanted.keys()
    if extra and not part:
        raise UserError(f"{directory} has {min(extra)}, which is not expected here")
    arrays = read_arrays(directory, manifest, wanted)
    leaves = [_as(leaf, arrays[name]) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def names(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by readable names, in order: `params/layers/0/wx`."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
    if len(named) < len(leaves):
        raise TypeError("two leaves have the same name when their keys are joined by '/'")
    return named


def line(error: BaseException) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]


def _host(name: str, leaf: Any) -> "np.ndarray":
    import jax
    import numpy as np

    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{name} is a PRNG key; write its jax.random.key_data")
    array = np.asarray(leaf)
    if array.dtype.kind in "OSUMmT" or array.dtype.names:
        raise TypeError(f"{name} is {type(leaf).__name__} ({array.dtype}), not an array of numbers")
    return array


def _as(like: Any, array: "np.ndarray") -> Any:
    """`array` as the kind of thing that `like` is, on the devices that it is on."""
    import jax
    import numpy as np

    if isinstance(like, (jax.Array, jax.ShapeDtypeStruct)):
        # One that was never placed stays so, or all that is compiled for it is compiled anew.
        placed = jax.device_put(array, like.sharding if _is_placed(like) else None)
        if placed.dtype != like.dtype:
            raise UserError(f"{like.dtype} needs jax_enable_x64; without it is {placed.dtype}")
        if isinstance(like, jax.Array) and like.weak_type:
            # An indexed update keeps the weak type, on which later promotions depend.
            return like.at[...].set(placed)
        return placed
    if isinstance(like, np.ndarray):
        return array
    return array[()] if isinstance(like, np.generic) else array.item()


def _is_placed(like: Any) -> bool:
    """Whether somebody said on which devices it is to be; jax calls such an array committed."""
    import jax

    return bool(like.committed) if isinstance(like, jax.Array) else like.sharding is not None


def _entry(array: "np.ndarray") -> Entry:
    import numpy as np

    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return Entry(str(array.dtype), array.shape, hashlib.sha256(data).hexdigest())


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(directory: Path, manifest: Manifest) -> None:
    for name, digest in manifest.files.items():
        path = directory / name
        # Nothing outside, and nothing that never ends: a step may come from anywhere.
        if ".." in Path(name).parts or Path(name).is_absolute() or path.exists() != path.is_file():
            raise DamagedError(f"{directory} is damaged: {name} is no file in it")
        try:
            same = _file_digest(path) == digest
        except PermissionError as error:
            raise UserError(f"cannot read {directory}: {line(error)}") from error
        except Exception as error:
            raise DamagedError(f"{directory} is damaged: {line(error)}") from error
        if not same:
            raise DamagedError(f"{directory / name} is damaged: its digest differs")


def _reserve(directory: Path, size: int) -> None:
    """Fail with a plain `OSError` where `size` bytes do not fit on the disk (quotas included)."""
    path = directory / "space"
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
    path.unlink()


def _real(directory: Path) -> Path:
    """Where the arrays lie: to tensorstore `link/../x` is `x`, and to the system it need not be."""
    return (directory / ARRAYS).resolve()


@contextlib.contextmanager
def _orbax() -> Iterator[tuple[Any, Any]]:
    """Orbax and a checkpointer; a failure is one exception and prints nothing."""
    import jax
    import orbax.checkpoint as ocp

    # Each process by itself: no barrier in which the others would have to take part.
    index = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=index, active_processes={index})
    handler = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
    failure, hook = None, sys.unraisablehook
    with quiet("absl", "asyncio"):
        sys.unraisablehook = lambda report: None
        try:
            yield ocp, ocp.Checkpointer(handler, multiprocessing_options=alone)
        except Exception as error:
            failure = line(error)  # without its traceback, which holds what is collected below
        finally:
            if failure:
                # Orbax leaves the tasks that fail after the first on a closed event loop. They are
                # reported with tracebacks when they are collected, so that is done here.
                time.sleep(0.1)
                gc.collect()
            sys.unraisablehook = hook
    if failure:
        raise OSError(failure)
