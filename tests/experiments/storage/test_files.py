"""A text file is there whole or not at all."""

import os

import pytest

from experiments.config.cli import UserError
from experiments.storage.files import replacing, write_bytes, write_text


def test_what_is_written_is_read(tmp_path):
    for text in ("a", "ü\n", ""):
        write_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_text(encoding="utf-8") == text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failure_leaves_what_stood_there(tmp_path, monkeypatch, fails):
    write_text(tmp_path / "file", "before")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(UserError, match=r"file cannot be written \(No space left on device\)"):
        write_text(tmp_path / "file", "after")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_writer_that_fails_or_is_interrupted_leaves_what_stood_there(tmp_path):
    write_bytes(tmp_path / "file", b"\0before")
    for error in (RuntimeError, KeyboardInterrupt):

        def fail(error=error):
            with replacing(tmp_path / "file") as partial:
                partial.write_bytes(b"half of")
                raise error

        with pytest.raises(error):
            fail()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"\0before"


def test_what_several_processes_write_they_write_beside_each_other(tmp_path, monkeypatch):
    with replacing(tmp_path / "file", shared=True) as one:
        one.write_text("one")
        monkeypatch.setattr(os, "getpid", lambda: 0)
        with replacing(tmp_path / "file", shared=True) as another:
            another.write_text("another")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "one"


def test_a_directory_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    for missing in ("none", "file"):
        with pytest.raises(UserError, match=r"x cannot be written \(N"):
            write_text(tmp_path / missing / "x", "text")
