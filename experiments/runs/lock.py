"""Keeps a directory for one process, and tells whether the one at that path is still the same."""

import datetime
import os
import platform
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from experiments.config.cli import UserError

LOCK, HOLDER = ".lock", ".lock-holder"


class DirectoryLock:
    """Keeps every other process from running in `directory` while the block runs.

    The operating system holds the lock (`filelock`: flock on Unix, msvcrt on Windows), so that a
    killed run leaves no lock; who holds it stands in a file beside it.

    Raises:
        UserError: somebody holds it, or nothing can be written there.
    """

    def __init__(self, directory: Path):
        self.directory = directory

    def __enter__(self) -> "DirectoryLock":
        self._acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.holds():
            (self.directory / HOLDER).unlink(missing_ok=True)
            # Before the release: who has opened it sees that it has lost its name, and tries anew.
            (self.directory / LOCK).unlink(missing_ok=True)
        self._lock.release()

    def holds(self) -> bool:
        """Whether the directory at this path is the one that was locked.

        It is not once that was deleted or moved, even where another stands in its place: as long
        as this process has the lock open, no other file gets its number.
        """
        return _identity(self.directory / LOCK) == self._identity

    def acquire_again(self) -> None:
        """Lock what is at the path now, which the caller has made or found; `UserError` as ever."""
        lost = self._lock
        self._acquire()
        lost.release()

    def _acquire(self) -> None:
        path, holder = self.directory / LOCK, self.directory / HOLDER
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"--run-dir {self.directory} is in use by {_who(holder)}; wait for it or stop it, "
                "or name another directory"
            ) from None
        except OSError as error:
            raise UserError(
                f"--run-dir {self.directory} cannot be locked ({error.strerror})"
            ) from None
        self._lock, self._identity = lock, _identity(path)
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        holder.write_text(f"process {os.getpid()} on {platform.node()} since {now}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Tells a file from every other one; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _who(holder: Path) -> str:
    try:
        return holder.read_text() or "another process"
    except OSError:
        return "another process"
