"""Settings of the client's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon."""
    monkeypatch.setattr("client.retries.FIRST_PAUSE_S", 0.01)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder for an embedded stack.

    Not below `tmp_path`: for root, Postgres runs as another user, and a pytest that starts meanwhile
    shuts other users out of its folders.
    """
    with tempfile.TemporaryDirectory(prefix="vader-", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "data"
