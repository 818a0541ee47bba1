"""The history of a job: numbered lines that list, live stream and webhooks all read.

`seq` counts from 1 without gaps: the number comes from the job's own row, whose lock every writer
holds until its transaction ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from domain.errors import NotFound
from domain.ids import new_id
from domain.tables import Event, Job, Json

CHANNEL = "vader_events"
"""Postgres tells this channel the id of a job of which an event is committed, and of a changed scoring."""

_ANNOUNCED = "announced"
_LEVELS = {
    "job.warning": "warning",
    "job.budget_warning": "warning",
    "job.attempt_failed": "warning",
    "job.failed": "error",
}


def append(
    session: Session,
    *,
    job_id: UUID,
    type: str,
    message: str,
    data: Json | None = None,
    step: int | None = None,
) -> Event:
    """Adds the next event of the job, visible and announced with the session's commit.

    It belongs to the job's current attempt and, unless `step` says otherwise, to its current step.
    Raises `NotFound` when there is no such job.
    """
    numbered = (
        update(Job)
        .where(Job.id == job_id)
        .values(last_seq=Job.last_seq + 1)
        .returning(Job.last_seq, Job.attempt, Job.step)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(numbered).one_or_none()
    if row is None:
        raise NotFound("There is no such job.")
    event = Event(
        job_id=job_id,
        seq=row.last_seq,
        id=new_id(),
        type=type,
        level=_LEVELS.get(type, "info"),
        message=message,
        data=data or {},
        attempt=row.attempt,
        step=row.step if step is None else step,
    )
    session.add(event)
    announce(session, job_id)
    return event


def list_after(
    session: Session, *, job_id: UUID, after: int = 0, limit: int = 100, types: Sequence[str] = ()
) -> list[Event]:
    """The job's events with a `seq` above `after`, oldest first, of the given types or of all."""
    query = select(Event).where(Event.job_id == job_id, Event.seq > after)
    if types:
        query = query.where(Event.type.in_(types))
    return list(session.scalars(query.order_by(Event.seq).limit(limit)))


def announce(session: Session, row_id: UUID) -> None:
    """Tells whoever waits for the job or scoring that it has changed, once this is committed."""
    # Once a transaction is enough: listeners hear of it at the commit and then read the table.
    announced = session.info.setdefault(_ANNOUNCED, set())
    if row_id not in announced:
        announced.add(row_id)
        session.execute(select(func.pg_notify(CHANNEL, str(row_id))))
