"""A text file is there whole or not at all."""

import os

import pytest

from experiments.config.cli import UserError
from experiments.storage.files import write_text


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
