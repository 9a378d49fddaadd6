"""Preparing with TFDS: the real thing on MNIST's archives, and every way it can fail."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_archives
import tiny_imdb
from root import ROOT

from experiments.config.cli import UserError
from experiments.data import prepare as preparing
from experiments.data import raw
from experiments.data.archives import Archive, archives, fault, manual_dir
from experiments.data.prepare import UnavailableError, prepare
from experiments.data.tfds import BUILDERS, find, read


@pytest.fixture
def no_network(monkeypatch) -> None:
    # Nobody listens on the discard port; environment proxies would hide that.
    monkeypatch.setattr(
        preparing,
        "archives",
        lambda name: [
            archive._replace(url=f"http://127.0.0.1:9/{archive.name}") for archive in archives(name)
        ],
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mnist_root(data_dir, tmp_path) -> Path:
    """A directory that holds MNIST's four archives and nothing else."""
    source = manual_dir(Path(data_dir))
    if not (source / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(f"needs the four MNIST archives in {source}; set JAXRNN_DATA_DIR")
    if package := preparing.lacking():
        pytest.skip(f"TFDS prepares nothing without {package}")
    manual_dir(tmp_path).mkdir(parents=True)
    for path in source.glob("*-ubyte.gz"):
        shutil.copyfile(path, manual_dir(tmp_path) / path.name)
    return tmp_path


def message(kind: type[UserError], call, *args) -> str:
    with pytest.raises(UserError) as caught:
        call(*args)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_archives_are_those_of_the_registry() -> None:
    """Name, size, digest and address as the installed TFDS has them."""
    import tensorflow_datasets as tfds

    for name in ("imdb", "mnist"):
        urls = tfds.builder_cls(BUILDERS[name].split("/")[0]).url_infos
        assert [tuple(archive) for archive in archives(name)] == [
            (info.filename, int(info.size), info.checksum, url) for url, info in urls.items()
        ]
    (imdb,) = archives("imdb")
    assert (imdb.name, imdb.size) == ("aclImdb_v1.tar.gz", 84_125_825)
    assert imdb.url.endswith(imdb.name)
    assert len(imdb.sha256) == 64
    assert str(imdb) == f"aclImdb_v1.tar.gz, 84,125,825 bytes, SHA-256 {imdb.sha256}"
    assert len(archives("mnist")) == 4


def test_fault(tmp_path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"abc")
    archive = Archive("a.gz", 3, hashlib.sha256(b"abc").hexdigest(), "http://x/a.gz")
    assert fault(archive, path) is None
    assert fault(archive._replace(size=1234), path) == "it has 3 bytes, not 1,234"
    assert fault(archive._replace(sha256="f" * 64), path).startswith("its SHA-256 is ba7816bf")
    assert fault(archive, tmp_path) == "it is a directory"
    with pytest.raises(UserError) as caught:
        fault(archive, tmp_path / "none")
    assert "cannot be read" in str(caught.value)


def test_mnist_is_prepared_by_tfds_from_archives(mnist_root, said) -> None:
    prepared = prepare("mnist", mnist_root, said.append)
    assert prepared.counts == {"train": 60_000, "test": 10_000}
    assert sorted(path.name for path in (mnist_root / "mnist").iterdir()) == ["3.0.1"]
    assert said == [f"preparing mnist in {mnist_root} with TFDS, once; this can take minutes"]

    rows = read(prepared, "test")
    images = np.stack([row["image"] for row in rows])
    assert (images.shape, images.dtype) == ((10_000, 28, 28, 1), np.uint8)
    # Read without TFDS they are the same, in the same order.
    without = raw.find("mnist", mnist_root, "tensorflow")
    for split in ("train", "test"):
        pairs = zip(read(prepared, split), raw.read(without, split), strict=True)
        assert all(
            a["label"] == b["label"] and np.array_equal(a["image"], b["image"]) for a, b in pairs
        )
    # And independently: the same pictures, which TFDS has shuffled.
    import gzip

    def unpacked(name: str, header: int) -> np.ndarray:
        packed = (manual_dir(mnist_root) / name).read_bytes()
        return np.frombuffer(gzip.decompress(packed)[header:], np.uint8)

    pictures = unpacked("t10k-images-idx3-ubyte.gz", 16).reshape(10_000, -1)
    labels = unpacked("t10k-labels-idx1-ubyte.gz", 8)
    original = sorted(zip(map(bytes, pictures), labels.tolist(), strict=True))
    assert original == sorted((row["image"].tobytes(), int(row["label"])) for row in rows)
    # A second time there is nothing to do.
    said.clear()
    assert prepare("mnist", mnist_root, said.append) == prepared
    assert said == []


def test_a_wrong_archive_is_named(mnist_root, said) -> None:
    path = manual_dir(mnist_root) / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    mistake = message(UserError, prepare, "mnist", mnist_root, said.append)
    assert mistake.startswith(f"{path} is not the right file: its SHA-256 is")
    os.truncate(path, 100)
    mistake = message(UserError, prepare, "mnist", mnist_root, said.append)
    assert f"{path} is not the right file: it has 100 bytes, not 4,542" in mistake
    assert find("mnist", mnist_root) is None
    assert said == []


@pytest.mark.usefixtures("no_network")
def test_without_a_network_it_is_known_at_once(tmp_path, said) -> None:
    start = time.monotonic()
    root = tmp_path / "not there yet"
    mistake = message(UnavailableError, prepare, "imdb", root, said.append)
    assert time.monotonic() - start < 5
    assert "http://127.0.0.1:9/aclImdb_v1.tar.gz cannot be reached" in mistake
    assert str(manual_dir(root)) in mistake
    assert not root.exists()


@pytest.mark.usefixtures("no_network")
def test_without_tensorflow_the_archives_are_needed_as_well(tmp_path, said, monkeypatch) -> None:
    tiny_archives.lack(monkeypatch, "tensorflow")
    root = tmp_path / "not there yet"
    mistake = message(UnavailableError, prepare, "imdb", root, said.append)
    assert "http://127.0.0.1:9/aclImdb_v1.tar.gz cannot be reached" in mistake
    assert str(manual_dir(root)) in mistake
    assert not root.exists()


def test_a_prepared_data_set_needs_nothing(tmp_path, said, monkeypatch) -> None:
    tiny_archives.lack(monkeypatch, "tensorflow")
    tiny_imdb.write(tmp_path, [("a", 0)], [("b", 1)])
    assert prepare("imdb", tmp_path, said.append).counts == {"train": 1, "test": 1}


def test_a_directory_that_cannot_be_written(mnist_root, said, monkeypatch) -> None:
    def refuse(dir: object) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr(preparing.tempfile, "TemporaryFile", refuse)
    mistake = message(UserError, prepare, "mnist", mnist_root, said.append)
    assert mistake.startswith(f"--data-dir {mnist_root} cannot be written (Read-only file system)")


def test_what_tfds_complains_of_is_one_line(mnist_root, said) -> None:
    # Where TFDS wants its directory, a file is in the way.
    (mnist_root / "mnist").write_text("")
    mistake = message(UserError, prepare, "mnist", mnist_root, said.append)
    assert mistake.startswith(f"mnist could not be prepared in {mnist_root}: ")
    assert "Error" in mistake


def as_child(monkeypatch, code: str) -> None:
    """Let this code run in the place of the preparing process."""

    class Child(subprocess.Popen):
        def __init__(self, args: list[str], **kwargs: object) -> None:
            super().__init__([sys.executable, "-c", code], **kwargs)

    monkeypatch.setattr(preparing.subprocess, "Popen", Child)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("os.kill(os.getpid(), 9)", "the preparing process was ended by signal 9 (out of memory?)"),
        ("print('log'); print('what TFDS says'); sys.exit(1)", "what TFDS says"),
        ("sys.stderr.write('log\\nthe last line\\n\\n'); sys.exit(3)", "the last line"),
        ("raise ImportError('no module')", "ImportError: no module"),
        ("print('log'); sys.exit(3)", "the preparing process ended with status 3"),
    ],
)
def test_what_a_child_that_fails_said_last_is_told(tmp_path, monkeypatch, code, says) -> None:
    as_child(monkeypatch, f"import os, sys; {code}")
    assert preparing._run_child("mnist", tmp_path) == says


def test_on_a_terminal_the_progress_of_tfds_is_shown(tmp_path, monkeypatch, capfd) -> None:
    as_child(monkeypatch, "import sys; sys.stderr.write('Dl Size...: 10%'); sys.exit(3)")
    assert preparing._run_child("mnist", tmp_path) == "Dl Size...: 10%"
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert preparing._run_child("mnist", tmp_path) == "the preparing process ended with status 3"
    assert capfd.readouterr().err == "Dl Size...: 10%"


def test_an_interrupt_ends_the_child(tmp_path, monkeypatch) -> None:
    as_child(monkeypatch, "import time; time.sleep(60)")
    children = []

    def interrupt(child: subprocess.Popen) -> None:
        children.append(child)
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing.subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        preparing._run_child("mnist", tmp_path)
    assert [child.returncode for child in children] == [-15]


def test_a_child_that_dies_leaves_nothing_prepared(mnist_root, said, monkeypatch) -> None:
    as_child(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    mistake = message(UserError, prepare, "mnist", mnist_root, said.append)
    assert "ended by signal 9" in mistake
    assert find("mnist", mnist_root) is None


def test_ending_the_child_politely_leaves_no_half_directory(mnist_root) -> None:
    command = [sys.executable, "-m", "experiments.data.prepare", "mnist", str(mnist_root)]
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until = time.monotonic() + 60
    while not list(mnist_root.glob("mnist/incomplete.*")) and child.poll() is None:
        assert time.monotonic() < wait_until
        time.sleep(0.05)
    child.terminate()
    assert child.wait(30) != 0
    assert find("mnist", mnist_root) is None
    assert list(mnist_root.glob("mnist/*")) == []
