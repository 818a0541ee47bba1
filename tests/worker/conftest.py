"""Fixtures of the worker's tests: short leases, and a trainer that needs no model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from domain.settings import Settings, get_settings

ROOT = Path(__file__).parents[2]
LINE_TRAINER = Path(__file__).with_name("line_trainer.py")


def set_short_times(monkeypatch: pytest.MonkeyPatch, **others: object) -> None:
    """Puts times of seconds, and `others`, into the environment in place of the defaults."""
    values = {
        # Long enough for a machine that is busy with other things, too.
        "lease_s": 10,
        "heartbeat_s": 0.5,
        "self_fence_s": 8,
        "reconcile_s": 0.5,
        "hint_age_s": 1,
        "upload_retry_s": 2,
        "retry_backoff_s": 0,
        **others,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"VADER_{name.upper()}", str(value))


@pytest.fixture
def worker_settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """`settings` with short times and the line trainer, in the environment too."""
    trainer = json.dumps([sys.executable, str(LINE_TRAINER)])
    set_short_times(monkeypatch, trainer_command=trainer)
    # Run as a script, the line trainer finds the packages by this alone.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    return get_settings()
