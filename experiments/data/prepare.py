"""Lets TFDS prepare a data set, in a child process: the only one that imports TensorFlow.

The archives come from `DATA_DIR/downloads/manual/` where the user has put them, else from TFDS's
own downloads of an earlier try, else from the network. Their names, sizes and checksums are those
of TFDS's registry, so they are right for the TFDS that is installed. What can be known beforehand
is looked at beforehand, so that a mistake costs seconds.
"""

import hashlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from experiments.config.begin import unwinding
from experiments.config.cli import UserError
from experiments.data.tfds import BUILDERS, Name, Prepared, find

# Seconds in which a host has to answer; TFDS itself would try ten times.
PATIENCE = 5.0

Say = Callable[[str], None]


class UnavailableError(UserError):
    """The data set cannot be prepared on this machine: no network, or no TensorFlow."""


class Archive(NamedTuple):
    """A file that a data set is made of: name, bytes, SHA-256 in hexadecimal, and its address."""

    name: str
    size: int
    sha256: str
    url: str

    def __str__(self) -> str:
        return f"{self.name}, {self.size:,} bytes, SHA-256 {self.sha256}"


def archives(name: Name) -> list[Archive]:
    """The files that TFDS makes a data set of, from its registry of checksums."""
    import tensorflow_datasets as tfds

    urls = tfds.builder_cls(BUILDERS[name].split("/")[0]).url_infos
    return [
        Archive(info.filename, int(info.size), info.checksum, url) for url, info in urls.items()
    ]


def manual_dir(root: Path) -> Path:
    """Where TFDS looks for files that were fetched by hand."""
    return root / "downloads" / "manual"


def fault(archive: Archive, path: Path) -> str | None:
    """What is wrong with the file at `path`, or None if it is this archive.

    Raises:
        UserError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size != archive.size:
            return f"it has {size:,} bytes, not {archive.size:,}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return None if digest == archive.sha256 else f"its SHA-256 is {digest}, not {archive.sha256}"


def prepare(name: Name, root: Path, say: Say) -> Prepared:
    """Let TFDS prepare a data set under `root`, unless it is there already.

    Args:
        name: `imdb` or `mnist`.
        root: the absolute TFDS data directory; made if missing.
        say: gets a line before it begins.

    Raises:
        UnavailableError: TensorFlow is missing, or files are and their host does not answer.
        UserError: anything else; what stands in `root` is then as unprepared as before.
    """
    if (prepared := find(name, root)) is not None:
        return prepared
    if importlib.util.find_spec("tensorflow") is None:
        raise UnavailableError(
            f"preparing {name} needs TensorFlow once, which is not installed; "
            "run `pip install tensorflow-cpu`"
        )
    missing = [archive for archive in archives(name) if not _is_there(archive, name, root)]
    if missing and not _answers(missing[0].url):
        raise UnavailableError(
            f"{missing[0].url} cannot be reached and {missing[0].name} is not in "
            f"{manual_dir(root)}; `python -m experiments.data status --data-dir "
            f"{shlex.quote(str(root))}` says what goes there"
        )
    _check_writable(root)
    say(f"preparing {name} in {root} with TFDS, once; this can take minutes")
    problem = _run_child(name, root)
    # Asked of the disk: another process may have prepared the same meanwhile.
    prepared = find(name, root)
    if prepared is None:
        raise UserError(f"{name} could not be prepared in {root}: {problem}")
    return prepared


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        raise UserError(
            f"--data-dir {root} cannot be written ({error.strerror}); give one that can"
        ) from None


def _is_there(archive: Archive, name: Name, root: Path) -> bool:
    """Whether TFDS need not download this archive."""
    by_hand = manual_dir(root) / archive.name
    if by_hand.exists():
        if problem := fault(archive, by_hand):
            raise UserError(
                f"{by_hand} is not the right file: {problem}; fetch {archive.url} again"
            )
        return True
    from tensorflow_datasets.core.download.resource import get_dl_fname

    kept = get_dl_fname(archive.url, archive.sha256)
    folders = (root / "downloads", root / "downloads" / BUILDERS[name].split("/")[0])
    return any((folder / kept).exists() for folder in folders)


def _answers(url: str) -> bool:
    """Whether the address can be downloaded from, known within a few seconds."""
    import requests

    reached = threading.Event()

    def ask() -> None:
        try:
            # GET as the download will do it, proxies included, but its body is never read.
            with requests.get(url, stream=True, timeout=PATIENCE) as response:
                if response.ok:
                    reached.set()
        except requests.RequestException:
            pass

    # In a thread: the timeout of `requests` does not cover the look-up of the host's name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * PATIENCE)
    return reached.is_set()


def _run_child(name: Name, root: Path) -> str:
    """Prepare in a child process; returns what went wrong, where something did."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    with (
        unwinding(),
        subprocess.Popen(
            [sys.executable, "-m", "experiments.data.prepare", name, str(root)],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, **quiet, "CUDA_VISIBLE_DEVICES": "-1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # TFDS's progress bars are for a terminal.
            stderr=None if sys.stderr.isatty() else subprocess.PIPE,
            text=True,
            errors="replace",
        ) as child,
    ):
        try:
            output, errors = child.communicate()
        except BaseException:
            child.terminate()  # Ctrl-C reaches it from a terminal only
            raise
        finally:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
    status = child.returncode
    if status < 0:
        return f"the preparing process was ended by signal {-status} (out of memory?)"
    # What it says went wrong is its last line; before that stands what TFDS has to tell.
    lines = ((status == 1 and output.strip()) or errors or "").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last[:400] or f"the preparing process ended with status {status}"


def _child(builder_name: str, root: str) -> str | None:
    """What the child process does: TFDS's own preparation; returns what went wrong."""
    try:
        import tensorflow_datasets as tfds

        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        # The buckets of Google are asked for nothing: they hold no array_record.
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        builder = tfds.builder(builder_name, data_dir=root, file_format="array_record")
        _remove_when_ended(lambda: Path(builder.data_dir))
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def _remove_when_ended(directory: Callable[[], Path]) -> None:
    """On SIGTERM and Ctrl-C, remove the unfinished directory and leave at once.

    An exception would make TFDS remove it, but its download threads sometimes never let the
    exception through. While it prepares, TFDS's `data_dir` is the unfinished directory.
    """

    def end(number: int, _: object) -> None:
        if directory().name.startswith("incomplete."):
            shutil.rmtree(directory(), ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


if __name__ == "__main__":
    _name, _root = sys.argv[1:]
    if problem := _child(BUILDERS[cast(Name, _name)], _root):
        print(problem)
        sys.exit(1)
