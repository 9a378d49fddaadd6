"""Fetches an archive: written aside, held to its size and digest, and only then given its name."""

import contextlib
import hashlib
import http.client
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from experiments.config.cli import UserError
from experiments.data.archives import Archive
from experiments.storage.files import replacing, writing

# Seconds in which a host has to answer, and a download has to go on.
PATIENCE = 5.0
STALLED = 60.0

_CHUNK = 1 << 18


def answers(url: str) -> bool:
    """Whether the address can be downloaded from, known within a few seconds."""
    reached = threading.Event()

    def ask() -> None:
        try:
            # GET as the download will do it, proxies included, but its body is never read.
            with urllib.request.urlopen(url, timeout=PATIENCE):
                reached.set()
        except urllib.error.HTTPError as error:
            error.close()
        except (OSError, http.client.HTTPException):
            pass

    # In a thread: the timeout does not cover the look-up of the host's name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    return reached.is_set()


def download(archive: Archive, path: Path) -> None:
    """Fetch an archive to `path`, with a progress bar where a person looks on.

    Raises:
        UserError: the connection fails, what comes is another file, or it cannot be written;
            nothing is then left of it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with (
        contextlib.closing(_chunks(archive)) as chunks,
        _progress(archive) as advance,
        replacing(path, shared=True) as partial,
        partial.open("wb") as file,
    ):
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            if size > archive.size:
                break
            file.write(chunk)
            advance(len(chunk))
        if size < archive.size:
            raise _failed(archive, f"the connection ended after {size:,} bytes")
        if size > archive.size or digest.hexdigest() != archive.sha256:
            raise UserError(
                f"{archive.url} is not {archive}; fetch that file elsewhere and put it at {path}"
            )


def _chunks(archive: Archive) -> Generator[bytes, None, None]:
    # Failures of the network become ours here: to whoever writes, an OSError means the disk.
    try:
        with urllib.request.urlopen(archive.url, timeout=STALLED) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
    except urllib.error.HTTPError as error:
        error.close()
        raise _failed(archive, f"{error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _failed(archive, str(reason) or type(reason).__name__) from None


@contextlib.contextmanager
def _progress(archive: Archive) -> Iterator[Callable[[int], None]]:
    """A function that is told the bytes that came; on a terminal a bar shows them."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    terminal = sys.stderr is not None and sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not terminal) as bar:
        task = bar.add_task(f"fetching {archive.name}", total=archive.size)
        yield lambda count: bar.advance(task, count)


def _failed(archive: Archive, reason: str) -> UserError:
    return UserError(f"{archive.url} could not be downloaded: {reason}; run the command again")
