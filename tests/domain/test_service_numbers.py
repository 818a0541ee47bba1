"""The numbers of the whole service, counted over real rows of several projects."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from domain import db, service_numbers, workers
from domain.job_status import Status
from domain.service_numbers import ServiceNumbers
from tests import hooks, lives

pytestmark = pytest.mark.usefixtures("settings")


def numbers() -> ServiceNumbers:
    with db.read() as session:
        return service_numbers.read(session)


def test_of_a_service_without_work_everything_is_zero() -> None:
    found = numbers()
    assert found.jobs == {status.value: 0 for status in Status}
    assert set(found.queued) == set(found.leases) == set(found.workers)
    assert [waiting.count for waiting in found.queued.values()] == [0, 0, 0]
    assert (found.webhooks.count, found.webhooks.oldest_s) == (0, 0.0)


def test_jobs_queues_leases_and_workers_are_counted() -> None:
    lives.succeeded()
    lives.training()
    lives.waiting()
    lives.waiting()
    with db.transaction() as session:
        oldest = "SELECT id FROM jobs WHERE status = 'queued' LIMIT 1"
        ago = "clock_timestamp() - interval '1 hour'"
        session.execute(text(f"UPDATE jobs SET queued_at = {ago} WHERE id = ({oldest})"))
        workers.beat(session, worker="one", hardware="cpu")
        workers.beat(session, worker="gone", hardware="cpu")
        workers.beat(session, worker="scorer", hardware="cpu", kind="scoring")
        session.execute(text(f"UPDATE workers SET last_seen_at = {ago} WHERE name = 'gone'"))
    found = numbers()
    counted = {status: count for status, count in found.jobs.items() if count}
    assert counted == {"succeeded": 1, "running": 1, "queued": 2}
    assert found.queued["training"].count == 2
    assert found.queued["training"].oldest_s == pytest.approx(3600, abs=60)
    assert found.leases == {"training": 1, "scoring": 0, "generation": 0}
    assert found.workers == {"training": 1, "scoring": 1, "generation": 0}


def test_webhooks_are_backlog_once_they_are_due_and_their_endpoint_listens() -> None:
    job = lives.waiting()
    made, _ = hooks.endpoint(job.project_id)
    lives.cancel(job.id)
    assert numbers().webhooks.count > 0
    with db.transaction() as session:
        session.execute(text("UPDATE webhook_endpoints SET enabled = false"))
    assert made.enabled
    assert numbers().webhooks.count == 0
