"""Leases against a real Postgres, also one that goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from domain import claims, db, jobs, progress, projects, sweep
from domain.callers import Origin
from domain.claims import Claim
from domain.settings import Settings, get_settings
from tests.worker.conftest import set_short_times
from tests.worker.specs import small_spec
from tests.worker.waiting import wait_until
from vader_core.lines import Warned
from worker.lease import Lease, LeaseLost


@pytest.fixture
def worker_settings(worker_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    set_short_times(monkeypatch, lease_s=3, heartbeat_s=0.3, self_fence_s=2)
    get_settings.cache_clear()
    return get_settings()


@pytest.fixture
def project_id(worker_settings: Settings) -> UUID:
    with db.transaction() as session:
        return projects.create(session, name="tests").id


@pytest.fixture
def claim(project_id: UUID) -> Claim:
    spec = small_spec()
    with db.transaction() as session:
        jobs.create(
            session,
            spec=spec,
            asked_spec=spec.model_dump(mode="json"),
            origin=Origin(project_id=project_id, trace_id=""),
        )
        claimed = claims.claim(session, worker="tests:1", hardware="CPU")
    assert claimed is not None
    return claimed


def lease_of(claim: Claim, settings: Settings) -> Lease:
    return Lease(claim.job_id, claim.attempt, settings=settings, held_since=time.monotonic())


@contextmanager
def database_away(database_url: str, postgres_url: str) -> Iterator[None]:
    """Nobody gets into the test's database while the block runs."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def warning(text: str) -> Warned:
    return Warned(at=db.utc_now(), step=0, code="test", message=text)


def test_heartbeats_keep_a_lease_beyond_its_length(claim: Claim, worker_settings: Settings) -> None:
    with lease_of(claim, worker_settings) as lease:
        time.sleep(worker_settings.lease_s + 0.5)
        sweep.run_once()
        assert not lease.lost
        lease.write(progress.record, lines=[warning("still here")])


def test_without_heartbeats_a_lease_is_taken_away(claim: Claim, worker_settings: Settings) -> None:
    time.sleep(worker_settings.lease_s + 0.2)
    sweep.run_once()
    lease = lease_of(claim, worker_settings)
    with pytest.raises(LeaseLost):
        lease.write(progress.record, lines=[warning("too late")])


def test_the_holder_stops_by_itself_before_the_lease_is_over(
    claim: Claim, worker_settings: Settings, database_url: str, postgres_url: str
) -> None:
    stopped_at: list[float] = []
    with lease_of(claim, worker_settings) as lease:
        lease.when_lost(lambda: stopped_at.append(time.monotonic()))
        with database_away(database_url, postgres_url):
            began = time.monotonic()
            wait_until(lambda: stopped_at, within_s=worker_settings.lease_s)
    assert stopped_at[0] - began < worker_settings.lease_s
    assert lease.lost


def test_a_write_waits_for_a_database_that_comes_back_soon(
    claim: Claim, worker_settings: Settings, database_url: str, postgres_url: str
) -> None:
    with lease_of(claim, worker_settings) as lease:
        with database_away(database_url, postgres_url):
            time.sleep(0.5)
        lease.write(progress.record, lines=[warning("the database is back")])
        assert not lease.lost


def test_a_cancel_is_seen_within_a_second_or_so(
    claim: Claim, worker_settings: Settings, project_id: UUID
) -> None:
    slow_beats = worker_settings.model_copy(update={"heartbeat_s": 60.0})
    with lease_of(claim, slow_beats) as lease:
        time.sleep(0.3)
        assert lease.cancel is None
        with db.transaction() as session:
            jobs.request_cancel(session, project_id=project_id, job_id=claim.job_id)
        wait_until(lambda: lease.cancel, within_s=1.5)


def test_a_stop_registered_after_the_loss_is_called_at_once(
    claim: Claim, worker_settings: Settings
) -> None:
    lease = lease_of(claim, worker_settings)
    with db.transaction() as session:
        claims.release(session, job_id=claim.job_id, attempt=claim.attempt, reason="taken")
    with pytest.raises(LeaseLost):
        lease.write(progress.record, lines=[warning("stale")])
    calls: list[str] = []
    lease.when_lost(lambda: calls.append("stopped"))
    assert calls == ["stopped"]
