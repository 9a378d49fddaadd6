"""Preparing a data set with TFDS, in a child process: the only one that imports TensorFlow.

The files come from `DATA_DIR/downloads/manual/` where the user has put them, else from TFDS's own
downloads of an earlier try, else from the network. Names, sizes and checksums are those in TFDS's
registry. What can be known beforehand is looked at beforehand, so that a mistake costs seconds.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

from experiments.config.cli import UserError
from experiments.data.archives import Archive, archives, fault, manual_dir
from experiments.data.tfds import BUILDERS, Name, Prepared, find

# Seconds in which a host has to answer; TFDS itself would try ten times.
PATIENCE = 5.0

# TFDS's names for two of its bars, and two that only count the others.
_STAGES = {
    "Dl Size": "Fetching archives",
    "Extraction completed": "Extracting",
    "Dl Completed": "",
    "Generating splits": "",
}

Say = Callable[[str], None]


class UnavailableError(UserError):
    """The data set cannot be prepared on this machine: no network, or no TensorFlow."""


def prepare(name: Name, root: Path, say: Say) -> Prepared:
    """Let TFDS prepare a data set under `root`, unless it is there already.

    Args:
      name: `imdb` or `mnist`.
      root: the absolute TFDS data directory; made if missing.
      say: gets a line for each stage.

    Raises:
      UnavailableError: files are missing and their host does not answer, or TensorFlow is missing.
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
    say(f"preparing {name} in {root} with TFDS, once")
    problem = _run_child(name, root, say)
    # Asked of the disk: another process may have prepared the same meanwhile.
    prepared = find(name, root)
    if prepared is None:
        raise UserError(f"{name} could not be prepared in {root}: {problem}")
    return prepared


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as mistake:
        raise UserError(
            f"--data-dir {root} cannot be written ({mistake.strerror}); give one that can"
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


def _run_child(name: Name, root: Path, say: Say) -> str:
    """Prepare in a child process; returns what went wrong, where something did."""
    project = Path(__file__).resolve().parents[2]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "experiments.data.prepare", name, str(root)],
        cwd=project,
        env={**os.environ, **quiet},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            last = _relay(child.stderr, say)
            said = child.stdout.read()
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
    try:
        # The last line; before it stands what TFDS has to tell.
        return json.loads(said.splitlines()[-1])["problem"]
    except (ValueError, LookupError, TypeError):
        return last or f"the preparing process ended with status {status}"


def _relay(stream: Iterable[str], say: Say) -> str:
    """Turn TFDS's nested progress bars into lines; returns the last line that is no bar."""
    last, said, at = "", set(), time.monotonic()
    # The pipe's universal newlines have made each redrawing of a bar a line of its own.
    for line in stream:
        line = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).strip()
        bar = re.match(r"(\w[\w ]*?)(?: /\S*)?\.\.\.:\s*(\d+%|\d+ examples)", line)
        if not bar:
            last = line[:200] or last
            continue
        stage = _STAGES.get(bar.group(1), bar.group(1))
        # Each stage once, and a sign of life where one takes long.
        if stage and (stage not in said or time.monotonic() > at + 5):
            say(f"  {stage}: {bar.group(2)}" if stage in said else f"  {stage}")
            said.add(stage)
            at = time.monotonic()
    return last


def _child(builder_name: str, root: str) -> str | None:
    """What the child process does: TFDS's own preparation; returns what went wrong."""
    import tensorflow_datasets as tfds

    # The buckets of Google are asked for nothing: they hold no array_record.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        builder = tfds.builder(builder_name, data_dir=root, file_format="array_record")
        _remove_when_ended(lambda: Path(builder.data_dir))
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except Exception as mistake:
        return f"{type(mistake).__name__}: {' '.join(str(mistake).split())[:300]}"
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
        print(json.dumps({"problem": problem}))
        sys.exit(1)
