"""The history of a job: numbered lines that lists, live streams and webhooks all read.

`seq` counts from 1 without gaps: the number comes from the job's own row, whose lock every writer
holds until its transaction ends. A project's events as one list: `domain.event_feed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Row,
    Text,
    any_,
    bindparam,
    cast,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from domain import webhook_outbox
from domain.errors import NotFound
from domain.ids import new_id
from domain.reads import Reads
from domain.tables import Event, Job, Json

CHANNEL = "vader_events"
"""Postgres tells this channel what has changed, once that is committed: the id of a job and that of its
project for an event, and the id of a changed scoring or generation."""

COLUMNS = tuple(Event.__table__.columns)


class EventRow(NamedTuple):
    """An event as it is shown, with `data` as JSON text for those who only hand it on."""

    id: UUID
    job_id: UUID
    seq: int
    type: str
    level: str
    attempt: int
    step: int
    at: datetime
    message: str
    data: str


SHOWN: tuple[ColumnElement[Any], ...] = (
    *(Event.__table__.c[name] for name in EventRow._fields[:-1]),
    cast(Event.data, Text).label("data"),
)
"""The columns of an `EventRow`."""

_ANNOUNCED = "announced"
_LEVELS = {
    "job.warning": "warning",
    "job.budget_warning": "warning",
    "job.guard_warning": "warning",
    "job.attempt_failed": "warning",
    "job.failed": "error",
}
_OWN_XACT = cast(cast(func.pg_current_xact_id(), Text), BigInteger)


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

    It belongs to the job's current attempt and, unless `step` says otherwise, to its current step. The
    project's webhook endpoints that want it get it queued in the same transaction. Raises `NotFound`
    when there is no such job.
    """
    numbered = (
        update(Job)
        .where(Job.id == job_id)
        .values(last_seq=Job.last_seq + 1, last_xact=func.greatest(Job.last_xact, _OWN_XACT))
        .returning(
            *(Job.id, Job.project_id, Job.last_seq, Job.last_xact, Job.attempt, Job.step),
            func.clock_timestamp().label("at"),
            *webhook_outbox.asked_with(type),
        )
        .execution_options(synchronize_session=False)
    )
    row = session.execute(numbered).one_or_none()
    if row is None:
        raise NotFound("There is no such job.")
    event = Event(
        job_id=job_id,
        seq=row.last_seq,
        id=new_id(),
        project_id=row.project_id,
        xact=row.last_xact,
        type=type,
        level=_LEVELS.get(type, "info"),
        message=message,
        data=data or {},
        attempt=row.attempt,
        step=row.step if step is None else step,
        at=row.at,
    )
    session.add(event)
    webhook_outbox.queue_event(session, event, row)
    announce(session, job_id)
    announce(session, row.project_id)
    return event


def list_after(
    session: Session,
    *,
    job_id: UUID,
    after: int = 0,
    limit: int = 100,
    types: Sequence[str] = (),
    columns: Sequence[ColumnElement[Any]] = COLUMNS,
) -> Sequence[Row[Any]]:
    """The job's events with a `seq` above `after`, oldest first, of the given types or of all.

    Rows with the columns of `Event`, or those asked for: objects would cost more than reading them.
    """
    query = select(*columns).where(Event.job_id == job_id, Event.seq > after)
    if types:
        query = query.where(Event.type.in_(types))
    return session.execute(query.order_by(Event.seq).limit(limit)).all()


async def look_after(
    reads: Reads, *, job_id: UUID, after: int, limit: int, types: Sequence[str] = ()
) -> list[EventRow]:
    """As `list_after`, without a session; none for another project's job."""
    values: dict[str, Any] = {"job": job_id, "after": after, "most": limit}
    if types:
        rows = await reads.rows(PAGE_OF_TYPES, plan_for_values=True, **values, types=list(types))
    else:
        rows = await reads.rows(PAGE, **values)
    return [EventRow._make(row) for row in rows]


# The project is not asked for: that row-level security does. Said twice, both would seem so rare together
# that the planner went through the project's feed.
PAGE = (
    select(*SHOWN)
    .where(Event.job_id == bindparam("job"), Event.seq > bindparam("after"))
    .order_by(Event.seq)
    .limit(bindparam("most", type_=Integer()))
)
PAGE_OF_TYPES = PAGE.where(Event.type == any_(bindparam("types", type_=ARRAY(Text()))))


def announce(session: Session, row_id: UUID) -> None:
    """Tells whoever waits for the row with this id that it has changed, once this is committed."""
    # Once a transaction is enough: listeners hear of it at the commit and then read the table.
    announced = session.info.setdefault(_ANNOUNCED, set())
    if row_id not in announced:
        announced.add(row_id)
        session.execute(select(func.pg_notify(CHANNEL, str(row_id))))
