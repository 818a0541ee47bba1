"""How the whole service is doing, in numbers alone: jobs, queues, leases, workers and webhooks of all projects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from domain.generation_table import Generation
from domain.job_status import Status
from domain.scoring_table import Scoring
from domain.service_tables import Worker
from domain.settings import get_settings
from domain.tables import Job
from domain.webhook_tables import DeliveryStatus, WebhookDelivery, WebhookEndpoint

KINDS: Mapping[str, type[Job] | type[Scoring] | type[Generation]] = {
    "training": Job,
    "scoring": Scoring,
    "generation": Generation,
}
"""What workers work at, and the table of that work."""


@dataclass(frozen=True)
class Waiting:
    """Rows that wait, and the age of the oldest in seconds; 0.0 where none waits."""

    count: int
    oldest_s: float


@dataclass(frozen=True)
class ServiceNumbers:
    """`jobs` by status, every status among them; the others by kind of work, every kind among them."""

    jobs: Mapping[str, int]
    queued: Mapping[str, Waiting]
    leases: Mapping[str, int]
    workers: Mapping[str, int]
    webhooks: Waiting


def read(session: Session) -> ServiceNumbers:
    """The numbers of this moment. `session` sees every project."""
    by_status = dict(session.execute(select(Job.status, func.count()).group_by(Job.status)).all())
    return ServiceNumbers(
        jobs={status.value: by_status.get(status, 0) for status in Status},
        queued={kind: _queued(session, table) for kind, table in KINDS.items()},
        leases={kind: _leases(session, table) for kind, table in KINDS.items()},
        workers=_workers(session),
        webhooks=_webhooks(session),
    )


def _queued(session: Session, table: type[Job] | type[Scoring] | type[Generation]) -> Waiting:
    since = Job.queued_at if table is Job else table.created_at
    age = func.extract("epoch", func.clock_timestamp() - func.min(since))
    query = select(func.count(), age).where(table.status == Status.QUEUED)
    return _waiting(*session.execute(query).one())


def _leases(session: Session, table: type[Job] | type[Scoring] | type[Generation]) -> int:
    query = select(func.count()).select_from(table).where(table.lease_until.is_not(None))
    return session.scalars(query).one()


def _workers(session: Session) -> dict[str, int]:
    since = func.clock_timestamp() - timedelta(seconds=get_settings().lease_s)
    query = select(Worker.kind, func.count()).where(Worker.last_seen_at > since)
    alive = dict(session.execute(query.group_by(Worker.kind)).all())
    return {kind: alive.get(kind, 0) for kind in KINDS}


def _webhooks(session: Session) -> Waiting:
    """Deliveries that are due now: what waits for its next try, or for its endpoint, is no backlog."""
    now = func.clock_timestamp()
    age = func.extract("epoch", now - func.min(WebhookDelivery.next_attempt_at))
    query = (
        select(func.count(), age)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(
            WebhookEndpoint.enabled,
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.next_attempt_at <= now,
        )
    )
    return _waiting(*session.execute(query).one())


def _waiting(count: int, oldest_s: object) -> Waiting:
    return Waiting(count, 0.0 if oldest_s is None else max(float(str(oldest_s)), 0.0))
