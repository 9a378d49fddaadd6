"""Makes what tests of data share: lines that were said, and a cache of their own."""

from pathlib import Path

import pytest


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """No test touches the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jaxrnn"
