"""Makes a data set ready to be read: lets TFDS prepare it, or fetches its archives.

TFDS prepares in a child process, the only one that imports TensorFlow. Where it cannot, for want
of a package that this system has no wheel of, `raw` reads the archives.

The archives come from `DATA_DIR/downloads/manual/` where the user has put them, else from TFDS's
own downloads of an earlier try, else from the network. What can be known beforehand is looked at
beforehand, so that a mistake costs seconds.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from experiments.config.begin import unwinding
from experiments.config.cli import UserError
from experiments.data import raw
from experiments.data.archives import Archive, archives, fault, manual_dir, wrong_file
from experiments.data.download import answers, download
from experiments.data.raw import Archives
from experiments.data.tfds import BUILDERS, Name, Prepared, brief, find

Say = Callable[[str], None]

# What reading needs that TFDS has prepared, and what preparing needs besides.
_READS = "tensorflow_datasets", "array_record"
_PREPARES = "tensorflow", *_READS


class UnavailableError(UserError):
    """The data set cannot be had on this machine: files are missing, and their host is silent."""


def lacking() -> str | None:
    """The package for want of which TFDS cannot prepare here, or None."""
    return raw.lacks(*_PREPARES)


def at_hand(name: Name, root: Path) -> Prepared | Archives | None:
    """What can be read at once: what TFDS prepared or, where it cannot, the archives; else None.

    Raises:
        UserError: something is there, but damaged or not what its name says.
    """
    if not raw.lacks(*_READS) and (prepared := find(name, root)):
        return prepared
    missing = lacking()
    return raw.find(name, root, missing) if missing else None


def prepare(name: Name, root: Path, say: Say) -> Prepared | Archives:
    """Let TFDS prepare a data set under `root`, or fetch its archives, unless it is there already.

    Args:
        name: `imdb` or `mnist`.
        root: the absolute TFDS data directory; made if missing.
        say: gets a line before it begins.

    Raises:
        UnavailableError: files are missing and their host does not answer.
        UserError: anything else; what stands in `root` is then as unprepared as before.
    """
    if (source := at_hand(name, root)) is not None:
        return source
    package = lacking()
    missing = [archive for archive in archives(name) if not _is_there(archive, name, root, package)]
    if missing and not answers(missing[0].url):
        raise UnavailableError(
            f"{missing[0].url} cannot be reached and {missing[0].name} is not in "
            f"{manual_dir(root)}; `python -m experiments.data status --data-dir "
            f"{shlex.quote(str(root))}` says what goes there"
        )
    _check_writable(root)
    problem = "its archives are gone again"
    if package is not None:
        for archive in missing:
            say(f"fetching {archive.url} ({archive.size:,} bytes), once")
            download(archive, manual_dir(root) / archive.name)
    else:
        say(f"preparing {name} in {root} with TFDS, once; this can take minutes")
        problem = _run_child(name, root)
    # Asked of the disk: another process may have prepared the same meanwhile.
    source = at_hand(name, root)
    if source is None:
        raise UserError(f"{name} could not be prepared in {root}: {problem}")
    return source


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        raise UserError(
            f"--data-dir {root} cannot be written ({error.strerror}); give one that can"
        ) from None


def _is_there(archive: Archive, name: Name, root: Path, package: str | None) -> bool:
    """Whether this archive need not be downloaded, by TFDS or, where it lacks a package, by us."""
    by_hand = manual_dir(root) / archive.name
    if by_hand.exists():
        if problem := fault(archive, by_hand):
            raise wrong_file(archive, by_hand, problem)
        return True
    if package is not None:
        return False
    from tensorflow_datasets.core.download.resource import get_dl_fname

    kept = get_dl_fname(archive.url, archive.sha256)
    folders = (root / "downloads", root / "downloads" / BUILDERS[name].split("/")[0])
    return any((folder / kept).exists() for folder in folders)


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
    return brief(last, 400) if last else f"the preparing process ended with status {status}"


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
        return f"{type(error).__name__}: {brief(error, 300)}"
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
