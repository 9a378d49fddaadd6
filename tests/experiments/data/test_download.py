"""Fetching an archive: from a server of this machine, and every way the network can fail."""

import contextlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_archives
import tiny_mnist

from experiments.config.cli import UserError
from experiments.data import archives, download
from experiments.data.archives import manual_dir
from experiments.data.prepare import prepare
from experiments.data.source import read

CONTENT = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by name; `promised` bytes are announced, or as many as there are."""

    files: dict[str, bytes]
    promised: int | None = None
    asked: list[str]

    @property
    def folder(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        promised = len(content) if self.server.promised is None else self.server.promised
        if promised >= 0:
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the other side has heard enough
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked = {"a.gz": CONTENT}, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server: Server, root: Path, content: bytes = CONTENT) -> Path:
    """Ask for this content; returns where it lies."""
    path = root / "new" / "folder" / "a.gz"
    download.download(tiny_archives.archive("a.gz", content, server.folder), path)
    return path


def failure(server: Server, root: Path, content: bytes = CONTENT) -> str:
    with pytest.raises(UserError) as caught:
        fetch(server, root, content)
    assert "\n" not in str(caught.value)
    # Nothing has the archive's name, and nothing else is left.
    assert [path.name for path in root.rglob("*")] == ["new", "folder"]
    return str(caught.value)


def test_what_is_fetched_is_there_whole(server, tmp_path, capfd) -> None:
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["a.gz"]
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_its_progress_is_shown(server, tmp_path, capfd, monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch(server, tmp_path)
    shown = capfd.readouterr().err
    assert "fetching a.gz" in shown
    assert "1.0/1.0 MB" in shown


@pytest.mark.parametrize("promised", [None, len(CONTENT), -1])
def test_a_connection_that_ends_early(server, tmp_path, promised) -> None:
    server.files, server.promised = {"a.gz": CONTENT[:1234]}, promised
    said = failure(server, tmp_path)
    assert said.startswith(f"{server.folder}a.gz could not be downloaded: ")
    assert said.endswith("; run the command again")
    assert "1,234 bytes" in said or "1234 bytes" in said


@pytest.mark.parametrize("promised", [None, -1])
def test_another_file_is_not_kept(server, tmp_path, promised) -> None:
    server.promised = promised
    for content in (CONTENT[:-1] + b"x", CONTENT + b"x", b"<html>Sign in</html>" * 100_000):
        server.files = {"a.gz": content}
        said = failure(server, tmp_path)
        assert said.startswith(f"{server.folder}a.gz is not a.gz, 1,024,000 bytes, SHA-256 ")
        assert said.endswith(f"put it at {tmp_path}/new/folder/a.gz")


def test_a_file_that_is_not_there(server, tmp_path) -> None:
    server.files = {}
    assert "a.gz could not be downloaded: 404 Not Found;" in failure(server, tmp_path)


def test_a_host_that_is_not_there(server, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    archive = tiny_archives.archive("a.gz", CONTENT, f"http://127.0.0.1:{port}/")
    with pytest.raises(UserError, match=r"a\.gz could not be downloaded: .*refused"):
        download.download(archive, tmp_path / "a.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_stands_still(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(download, "STALLED", 0.3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        archive = tiny_archives.archive(
            "a.gz", CONTENT, f"http://127.0.0.1:{silent.getsockname()[1]}/"
        )
        with pytest.raises(UserError, match="could not be downloaded: timed out"):
            download.download(archive, tmp_path / "a.gz")


def test_an_interrupt_leaves_nothing(server, tmp_path, monkeypatch) -> None:
    def interrupted(archive: object) -> Iterator[bytes]:
        yield CONTENT[:1000]
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_chunks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "folder"]


def test_a_disk_that_is_full(server, tmp_path, monkeypatch) -> None:
    def full(path: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.storage.files.sync", full)
    assert failure(server, tmp_path).endswith("a.gz cannot be written (No space left on device)")


def test_a_host_that_never_answers(monkeypatch) -> None:
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        assert not download.answers(f"http://127.0.0.1:{server.getsockname()[1]}/file")
        assert time.monotonic() - start < 3


@pytest.mark.parametrize(("name", "answers"), [("a.gz", True), ("b.gz", False)])
def test_only_a_file_that_is_there_counts(server, name, answers) -> None:
    assert download.answers(server.folder + name) is answers


def test_where_tfds_cannot_prepare_missing_archives_are_fetched(
    server, tmp_path, monkeypatch
) -> None:
    """One of the four is there already, and is not asked for again."""
    data = tiny_mnist.sample(60, 20)
    server.files = tiny_archives.digits(data)
    tiny_archives.put(monkeypatch, "mnist", server.files, tmp_path)
    monkeypatch.setattr(archives, "_FOLDERS", {"mnist": server.folder})
    tiny_archives.lack(monkeypatch, "tensorflow")
    gone = list(server.files)[1:]
    for name in gone:
        (manual_dir(tmp_path) / name).unlink()
    said: list[str] = []
    source = prepare("mnist", tmp_path, said.append)
    assert server.asked == gone[:1] + gone  # the first one also to see whether anybody answers
    assert said == [
        f"fetching {server.folder}{name} ({len(server.files[name]):,} bytes), once" for name in gone
    ]
    labels = [row["label"] for row in read(source, "train")]
    assert sorted(labels) == sorted(data.train.labels.tolist())
    # A second time there is nothing to do.
    assert prepare("mnist", tmp_path, said.append) == source
    assert len(server.asked) == 4
