"""Jobs with all that is shown of them: the current attempt, who made them, where they stand in the queue.

One query a job, or a few for a whole list, whatever its length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, case, func, select, true
from sqlalchemy.orm import Session

from domain import db, queue_waits, quotas
from domain.access_tables import Member
from domain.best_checkpoint import ranked
from domain.db import utc_now
from domain.errors import NotFound
from domain.ids import to_public
from domain.job_status import Status
from domain.reads import Reads
from domain.tables import ApiKey, Attempt, Checkpoint, Job

WaitReason = Literal["no_free_gpu", "project_concurrency", "quota", "backoff"]


@dataclass(frozen=True)
class Queued:
    """Where a queued job stands: `place` 1 is next by priority and age, `eta_at` None where unknown."""

    place: int
    reason: WaitReason
    eta_at: datetime | None


@dataclass(frozen=True)
class Seen:
    """A job and what stands in other rows. `maker` is the name of the key or member that made it,
    `best` id and step of its best checkpoint."""

    job: Job
    attempt: Attempt | None
    maker: str | None
    best: tuple[UUID, int] | None
    queued: Queued | None


@dataclass(frozen=True)
class Tag:
    """What tells a changed job from an unchanged one. `place` None: it is not queued."""

    status: str
    revision: int
    version: int
    place: int | None


def one(session: Session, *, project_id: UUID, job_id: UUID) -> Seen:
    """The job with its specs. Raises `NotFound`, also for another project's."""
    columns = (Job, *_AROUND, _place())
    query = _joined(select(*columns)).where(Job.id == job_id, Job.project_id == project_id)
    row = session.execute(query, execution_options={"populate_existing": True}).one_or_none()
    if row is None:
        raise _not_found(job_id)
    job, place = row[0], row[-1]
    places = {} if place is None else {job.id: place}
    return _seen(job, row[1:-1], _waiting(session, [job], places))


async def look(reads: Reads, *, project_id: UUID, job_id: UUID) -> Seen:
    """As `one`, without a session: how most requests for a job are answered."""
    rows = await reads.rows(_ONE, project=project_id, job=job_id)
    if not rows:
        raise _not_found(job_id)
    *columns, maker, best_id, best_step, place = rows[0]
    if place is not None:
        # Why and how long a queued job waits takes looks at other rows.
        return await asyncio.to_thread(_one_by_itself, project_id, job_id)
    job = Job(**dict(zip(_JOB_NAMES, columns, strict=False)))
    attempt = dict(zip(_ATTEMPT_NAMES, columns[len(_JOB_NAMES) :], strict=True))
    held = None if attempt["number"] is None else Attempt(**attempt)
    return _seen(job, (held, maker, best_id, best_step), {})


async def look_at_tag(reads: Reads, *, project_id: UUID, job_id: UUID) -> Tag:
    """As `tag_of`, without a session."""
    rows = await reads.rows(_TAG, project=project_id, job=job_id)
    if not rows:
        raise _not_found(job_id)
    return Tag(*rows[0])


def _one_by_itself(project_id: UUID, job_id: UUID) -> Seen:
    with db.read() as session:
        return one(session, project_id=project_id, job_id=job_id)


def seen(session: Session, jobs: Sequence[Job]) -> list[Seen]:
    """The jobs of a list, in its order. They are of one project."""
    ids = [job.id for job in jobs]
    query = _joined(select(Job.id, *_AROUND)).where(Job.id.in_(ids))
    around = {row[0]: row[1:] for row in session.execute(query)}
    waiting = [job.id for job in jobs if job.status == Status.QUEUED]
    places = _places(session, waiting) if waiting else {}
    queued = _waiting(session, jobs, places)
    return [_seen(job, around[job.id], queued) for job in jobs]


def tag_of(session: Session, *, project_id: UUID, job_id: UUID) -> Tag:
    """What the job's `ETag` is made of, by one small query. Raises `NotFound`."""
    query = select(Job.status, Job.revision, Job.version, _place())
    row = session.execute(query.where(Job.id == job_id, Job.project_id == project_id)).one_or_none()
    if row is None:
        raise _not_found(job_id)
    return Tag(*row)


def _not_found(job_id: UUID) -> NotFound:
    return NotFound(f"There is no job {to_public('job', job_id)!r} in this project.")


_BEST = (
    ranked(select(Checkpoint.id, Checkpoint.step), Job.id)
    .correlate(Job)
    .limit(1)
    .lateral("best_checkpoint")
)
_AROUND = (Attempt, func.coalesce(ApiKey.name, Member.name), _BEST.c.id, _BEST.c.step)


def _joined(query: Select[Any]) -> Select[Any]:
    current = and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt)
    return (
        query.select_from(Job)
        .outerjoin(Attempt, current)
        .outerjoin(ApiKey, ApiKey.id == Job.created_by_key_id)
        .outerjoin(Member, Member.id == Job.created_by_member_id)
        .outerjoin(_BEST, true())
    )


def _place() -> Any:
    """SQL: the place of a queued job; the queue is not looked at for any other."""
    return case((Job.status == Status.QUEUED, func.queue_place(Job.id)))


_JOB_NAMES = [column.name for column in Job.__table__.columns]
_ATTEMPT_NAMES = [column.name for column in Attempt.__table__.columns]
_ASKED = (Job.id == bindparam("job"), Job.project_id == bindparam("project"))
_ONE = _joined(
    select(*Job.__table__.columns, *Attempt.__table__.columns, *_AROUND[1:], _place())
).where(*_ASKED)
_TAG = select(Job.status, Job.revision, Job.version, _place()).where(*_ASKED)


def _places(session: Session, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    places = func.queue_places(list(job_ids)).table_valued("id", "place").render_derived()
    return {row.id: row.place for row in session.execute(select(places.c.id, places.c.place))}


def _waiting(
    session: Session, jobs: Sequence[Job], places: Mapping[UUID, int]
) -> dict[UUID, Queued]:
    if not places:
        return {}
    now = utc_now()
    held_back = quotas.waiting_reason(session, jobs[0].project_id)
    # How long a quota holds a job back depends on what its project does.
    waits = (
        {} if held_back else queue_waits.expected_waits(session, [p - 1 for p in places.values()])
    )
    queued = {}
    for job in jobs:
        place = places.get(job.id)
        if place is None:
            continue
        reason: Any = "backoff" if job.run_after > now else held_back or "no_free_gpu"
        wait = waits.get(place - 1)
        eta_at = None if wait is None else max(now + timedelta(seconds=wait[0]), job.run_after)
        queued[job.id] = Queued(place, reason, eta_at)
    return queued


def _seen(job: Job, around: Sequence[Any], queued: Mapping[UUID, Queued]) -> Seen:
    attempt, maker, best_id, best_step = around
    best = None if best_id is None else (best_id, best_step)
    return Seen(job, attempt, maker, best, queued.get(job.id))
