"""One directory, one run: a lock that ends with its process, however that ends.

The operating system holds it (`filelock`: flock on Unix, msvcrt on Windows), so that a killed
run leaves none behind; who holds it stands in a file beside it.
"""

import datetime
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.config.cli import UserError

LOCK, HOLDER = ".lock", ".lock-holder"


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Keep every other process from running in `directory` while the block runs.

    Raises:
        UserError: somebody holds it, or nothing can be written there.
    """
    lock, holder = FileLock(directory / LOCK), directory / HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"--run-dir {directory} is in use by {_who(holder)}; wait for it or stop it, "
            "or name another directory"
        ) from None
    except OSError as error:
        raise UserError(f"--run-dir {directory} cannot be locked ({error.strerror})") from None
    try:
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        holder.write_text(f"process {os.getpid()} on {platform.node()} since {now}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        # Before the release: who has opened it sees that it has lost its name, and tries anew.
        (directory / LOCK).unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        return holder.read_text() or "another process"
    except OSError:
        return "another process"
