"""Workers that do not hear their bells any more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, update

from domain import db, workers
from domain.service_tables import Worker

pytestmark = pytest.mark.usefixtures("settings")


def age(**seconds: float) -> None:
    """Sets times of the one worker to so many seconds ago."""
    times = {name: func.clock_timestamp() - timedelta(seconds=ago) for name, ago in seconds.items()}
    with db.transaction() as session:
        session.execute(update(Worker).values(times))


def alive(name: str = "w:1", **options: str) -> None:
    with db.transaction() as session:
        workers.beat(session, worker=name, hardware="CPU", **options)


def canaries() -> list[str]:
    with db.transaction() as session:
        return workers.due_canaries(session)


def is_deaf() -> bool:
    with db.read() as session:
        return workers.is_deaf(session, worker="w:1")


def test_living_training_workers_are_rung_once_a_minute() -> None:
    alive()
    alive("w:2", kind="scoring")
    assert canaries() == []
    age(started_at=61)
    assert canaries() == ["w:1"]
    assert canaries() == []
    age(canary_at=61)
    assert canaries() == ["w:1"]
    age(canary_at=61, last_seen_at=100)
    assert canaries() == []


def test_a_worker_is_deaf_that_missed_all_bells_for_minutes() -> None:
    alive()
    assert not is_deaf()
    age(started_at=200, canary_at=30)
    assert not is_deaf()
    age(started_at=200, canary_at=10)
    assert is_deaf()
    with db.transaction() as session:
        workers.heard(session, worker="w:1")
    assert not is_deaf()


def test_a_worker_whom_nobody_rings_is_not_deaf() -> None:
    alive()
    age(started_at=10_000)
    assert not is_deaf()
