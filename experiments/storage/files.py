"""Writes a file whole: beside its place, then renamed into it, so that it is there or it is not."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.config.begin import unwinding
from experiments.config.cli import UserError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` into the `UserError` that `path` cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error


@contextlib.contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Another path to write to; the file there then takes the place of `path`, on the disk itself.

    What stood at `path` stays if this fails, and nothing else is left.

    Args:
        path: the file to replace.
        shared: whether other processes may write it too, each then beside the others. If not, a
            kill leaves at most one unfinished file, which the next try replaces.

    Raises:
        UserError: the disk is full, or the directory cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid() if shared else ''}partial")
    with writing(path), unwinding():
        try:
            yield partial
            sync(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def base(flag: str, name: str) -> Path:
    """What the names of several files begin with, NAME.md and NAME.png.

    Raises:
        UserError: it ends in no name, or its directory is not there or cannot be written.
    """
    path = Path(name)
    if name.endswith("/") or path.name in ("", ".."):
        raise UserError(f"{flag} {name} is a directory; add what the files' names begin with")
    if not path.parent.is_dir():
        raise UserError(f"{flag} {name}: {path.parent} is no directory; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{flag} {name}: {path.parent} cannot be written; name another directory")
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path`, or raise `UserError` and leave it as it was."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by one in UTF-8, or raise `UserError` and leave it as it was."""
    write_bytes(path, text.encode())


def sync(path: Path) -> None:
    """Have the system put a file, or a directory's list of names, on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it cannot be read, is no JSON, or nested so deeply that nobody wrote it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
