"""Write a text file whole: beside its place, then renamed into it. It is there or it is not."""

import os
from pathlib import Path

from experiments.config.cli import UserError


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path`; what stood there stays if this fails.

    Raises:
        UserError: the disk is full, or the directory cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror})") from error
