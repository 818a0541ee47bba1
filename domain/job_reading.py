"""Jobs with all that is shown of them: the current attempt, who made them, where they stand in the queue.

One query for a job or a whole list, and a few more where some of them are queued. What is only shown is read
as plain rows: making entities of them takes longer than reading them.
"""

from __future__ import annotations

import asyncio
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Select, Text, and_, bindparam, case, func, select, true
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from domain import db, queue_waits, quotas, workers
from domain.access_tables import Member
from domain.best_checkpoint import ranked
from domain.capacity import Need
from domain.db import utc_now
from domain.errors import NotFound
from domain.ids import to_public
from domain.job_status import Status
from domain.reads import Reads
from domain.service_tables import Worker
from domain.tables import ApiKey, Attempt, Checkpoint, Job

WaitReason = Literal["no_free_gpu", "no_fitting_gpu", "project_concurrency", "quota", "backoff"]


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


class Specs(NamedTuple):
    """A job's specs as JSON text: as the client sent it, and resolved."""

    asked: str
    resolved: str


@dataclass(frozen=True)
class Tag:
    """What tells a changed job from an unchanged one. `place` and `reason` None: it is not queued."""

    status: str
    revision: int
    version: int
    place: int | None
    reason: WaitReason | None


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


async def look(reads: Reads, *, project_id: UUID, job_id: UUID) -> tuple[Seen, Specs]:
    """As `one`, without a session: how most requests for a job are answered."""
    rows = await reads.rows(WHOLE, project=project_id, job=job_id)
    if not rows:
        raise _not_found(job_id)
    ((*shown, asked, resolved),) = rows
    (seen,) = await _rows_seen([shown])
    return seen, Specs(asked, resolved)


async def looks(reads: Reads, narrowed: Select[Any], **asked: Any) -> list[Seen]:
    """The jobs of a project's list: `narrowed` is `LISTED` with conditions and an order, and `asked` goes with it
    to `Reads.rows`."""
    return await _rows_seen(await reads.rows(narrowed, **asked))


async def look_at_tag(reads: Reads, *, project_id: UUID, job_id: UUID) -> Tag:
    """As `tag_of`, without a session."""
    rows = await reads.rows(TAG, project=project_id, job=job_id)
    if not rows:
        raise _not_found(job_id)
    (row,) = rows
    return await asyncio.to_thread(_queued_tag, project_id, row) if _is_queued(row) else _tag(row)


def tag_of(session: Session, *, project_id: UUID, job_id: UUID) -> Tag:
    """What the job's `ETag` is made of, by one small query where it is not queued. Raises `NotFound`."""
    row = session.execute(TAG, {"project": project_id, "job": job_id}).one_or_none()
    if row is None:
        raise _not_found(job_id)
    return _tag(row, _reason_now(session, project_id, row) if _is_queued(row) else None)


def _not_found(job_id: UUID) -> NotFound:
    return NotFound(f"There is no job {to_public('job', job_id)!r} in this project.")


_BEST = (
    ranked(select(Checkpoint.id, Checkpoint.step), Job.id)
    .correlate(Job)
    .limit(1)
    .lateral("best_checkpoint")
)
_AROUND = (Attempt, func.coalesce(ApiKey.name, Member.name), _BEST.c.id, _BEST.c.step)


async def _rows_seen(rows: Sequence[Sequence[Any]]) -> list[Seen]:
    """Of rows with the columns of `LISTED`."""
    jobs = [cast(Job, _JobRow._make(row[:_JOB_WIDTH])) for row in rows]
    waiting = [job for job in jobs if job.status == Status.QUEUED]
    queued = await asyncio.to_thread(_queued, waiting) if waiting else {}
    return [
        _seen(job, (_attempt(row[_JOB_WIDTH:-3]), *row[-3:]), queued)
        for job, row in zip(jobs, rows, strict=True)
    ]


def _attempt(columns: Sequence[Any]) -> Attempt | None:
    attempt = cast(Attempt, _AttemptRow._make(columns))
    return None if attempt.number is None else attempt


def _queued(jobs: Sequence[Job]) -> dict[UUID, Queued]:
    with db.read() as session:
        return _waiting(session, jobs, _places(session, [job.id for job in jobs]))


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


_SPECS = (Job.asked_spec, Job.spec)
_JOB_COLUMNS = [
    column
    for column in Job.__table__.columns
    if column.computed is None and column.name not in {spec.key for spec in _SPECS}
]
_ATTEMPT_COLUMNS = list(Attempt.__table__.columns)
_JOB_WIDTH = len(_JOB_COLUMNS)
_JobRow = namedtuple("_JobRow", [column.name for column in _JOB_COLUMNS])  # type: ignore[misc]
_AttemptRow = namedtuple("_AttemptRow", [column.name for column in _ATTEMPT_COLUMNS])  # type: ignore[misc]
_ASKED = (Job.id == bindparam("job"), Job.project_id == bindparam("project"))
LISTED = _joined(select(*_JOB_COLUMNS, *_ATTEMPT_COLUMNS, *_AROUND[1:]))
"""All that is shown of jobs but their specs: what `looks` narrows."""
WHOLE = LISTED.add_columns(*(sql_cast(spec, Text) for spec in _SPECS)).where(*_ASKED)
TAG = select(
    *(Job.status, Job.revision, Job.version, _place()),
    *(Job.run_after, Job.least_gib, Job.peak_gib),
).where(*_ASKED)


def _is_queued(row: Sequence[Any]) -> bool:
    """Of a row of `TAG`."""
    return row[3] is not None


def _tag(row: Sequence[Any], reason: WaitReason | None = None) -> Tag:
    status, revision, version, place, *_ = row
    return Tag(status, revision, version, place, reason)


def _queued_tag(project_id: UUID, row: Sequence[Any]) -> Tag:
    with db.read() as session:
        return _tag(row, _reason_now(session, project_id, row))


def _reason_now(session: Session, project_id: UUID, row: Sequence[Any]) -> WaitReason:
    *_, run_after, least, peak = row
    held_back = quotas.waiting_reason(session, project_id)
    living = workers.living(session)
    return _reason(run_after, Need(least, peak), held_back=held_back, living=living)


def _places(session: Session, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    places = func.queue_places(list(job_ids)).table_valued("id", "place").render_derived()
    return {row.id: row.place for row in session.execute(select(places.c.id, places.c.place))}


def _waiting(
    session: Session, jobs: Sequence[Job], places: Mapping[UUID, int]
) -> dict[UUID, Queued]:
    if not places:
        return {}
    now = utc_now()
    # How long a quota holds a job back depends on what its project does.
    held_back = quotas.waiting_reason(session, jobs[0].project_id)
    found = queue_waits.look(session, jobs)
    queued = {}
    for job in jobs:
        place = places.get(job.id)
        if place is None:
            continue
        need = Need(job.least_gib, job.peak_gib)
        reason = _reason(job.run_after, need, held_back=held_back, living=found.living)
        wait = None if held_back else queue_waits.of_queued(found, job).p50
        eta_at = None if wait is None else max(now + timedelta(seconds=wait), job.run_after)
        queued[job.id] = Queued(place, reason, eta_at)
    return queued


def _reason(
    run_after: datetime, need: Need, *, held_back: WaitReason | None, living: Sequence[Worker]
) -> WaitReason:
    if queue_waits.no_worker_can_hold(living, need):
        return "no_fitting_gpu"
    return "backoff" if run_after > utc_now() else held_back or "no_free_gpu"


def _seen(job: Job, around: Sequence[Any], queued: Mapping[UUID, Queued]) -> Seen:
    attempt, maker, best_id, best_step = around
    best = None if best_id is None else (best_id, best_step)
    return Seen(job, attempt, maker, best, queued.get(job.id))
