"""Fixtures of the scenarios: the service's processes on short times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.settings import Settings
from tests.scenarios.stack import Stack
from tests.worker.conftest import worker_settings

__all__ = ["worker_settings"]


@pytest.fixture
def stack(worker_settings: Settings, redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    """Processes with short leases and the line trainer."""
    with Stack(tmp_path, redis_url) as running:
        yield running
