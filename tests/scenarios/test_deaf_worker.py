"""A worker that its bells do not reach ends by itself, to be started again; one that hears them stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from domain import db
from domain.service_tables import Worker
from domain.settings import get_settings
from tests.scenarios.stack import START_S, Stack
from tests.worker.conftest import set_short_times
from tests.worker.waiting import wait_until
from worker.duty import EXIT_DEAF


def test_a_worker_hears_its_own_bells_and_ends_when_it_misses_them(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, canary_every_s=0.5)
    get_settings.cache_clear()
    worker = stack.worker()
    stack.sweeper()

    def heard_twice() -> bool:
        with db.read() as session:
            row = session.scalar(select(Worker))
        heard = row is not None and row.last_bell_at is not None
        return heard and row.last_bell_at > row.started_at + timedelta(seconds=2)

    wait_until(heard_twice, within_s=START_S, what="canary")
    assert worker.poll() is None

    def look_deaf() -> bool:
        """As if the bells of the last minutes had been lost on their way."""
        long_ago = func.clock_timestamp() - timedelta(seconds=600)
        with db.transaction() as session:
            lost = {"started_at": long_ago, "last_bell_at": None}
            session.execute(update(Worker).values(**lost, canary_at=func.clock_timestamp()))
        return worker.poll() is not None

    wait_until(look_deaf, within_s=START_S, what="end")
    assert worker.returncode == EXIT_DEAF
