"""The sweeper: makes every accepted job, scoring and generation end, whatever was lost on the way.

Each step is a short transaction that may run twice and may be cut off anywhere; one process at a time
does them, by an advisory lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, true, update
from sqlalchemy.orm import Session

from domain import (
    capacity,
    claims,
    db,
    garbage,
    generation_files,
    generations,
    memory_shortage,
    pausing,
    queue,
    scorings,
    workers,
)
from domain.access_tables import MemberSession
from domain.errors import Unavailable
from domain.generation_table import Generation
from domain.job_errors import JobError
from domain.job_status import Status
from domain.scoring_table import Scoring
from domain.service_tables import IdempotencyKey, Worker
from domain.settings import get_settings
from domain.short_tasks import Row, ShortTasks
from domain.store import open_store
from domain.tables import Checkpoint, Job

log = logging.getLogger(__name__)
SWEEP_LOCK = 7_306_002
Waiting = TypeVar("Waiting", bound=Job | Scoring | Generation)
_HINTS_AT_ONCE = 500
_ENDS_AT_ONCE = 1000
_STUCK = "stuck"


@dataclass(frozen=True)
class SweepReport:
    """What a sweep did. `ran` False: another process was sweeping. The rest counts rows, and in
    `removed` stored objects; `stuck` are rows that could not be ended, of which the log says why."""

    ran: bool
    requeued: int = 0
    failed: int = 0
    cancelled: int = 0
    succeeded: int = 0
    paused: int = 0
    hinted: int = 0
    purged: int = 0
    removed: int = 0
    stuck: int = 0


def run_once() -> SweepReport:
    """One sweep: ends lost attempts and what waited or was paused too long, rings again, removes what
    nobody needs."""
    with db.exclusive(SWEEP_LOCK) as alone:
        if not alone:
            return SweepReport(ran=False)
        ended = [
            *_each(Job, _lease_ran_out, claims.lose),
            *_each(Job, _waited_too_long, _expire),
            *_each(Job, _stranded(), _strand),
            *_each(Job, pausing.expired, pausing.end_expired),
            *_short_tasks(scorings.TASKS),
            *_short_tasks(generations.TASKS),
        ]
        return SweepReport(
            ran=True,
            requeued=ended.count(Status.QUEUED),
            failed=ended.count(Status.FAILED),
            cancelled=ended.count(Status.CANCELLED),
            succeeded=ended.count(Status.SUCCEEDED),
            paused=ended.count(Status.PAUSED),
            hinted=_hint(Job, queue.ring)
            + _hint(Scoring, queue.ring_scorer)
            + _hint(Generation, queue.ring_generator),
            purged=_purge(),
            removed=_remove_objects(),
            stuck=ended.count(_STUCK),
        )


def _each(
    table: type[Waiting],
    condition: Callable[[], ColumnElement[bool]],
    end: Callable[[Session, Waiting], Waiting],
) -> list[str]:
    """Ends the rows for which `condition` holds, each in a transaction of its own.

    Their new states. A row that another transaction holds is left for the next sweep, and one that
    cannot be ended stands in nobody's way.
    """
    states: list[str] = []
    stuck: list[UUID] = []
    while len(states) < _ENDS_AT_ONCE:
        row_id: UUID | None = None
        try:
            with db.transaction() as session:
                query = select(table).where(condition(), table.id.not_in(stuck))
                query = query.order_by(table.id).limit(1)
                row = session.scalar(query.with_for_update(skip_locked=True))
                if row is None:
                    break
                row_id = row.id
                state = end(session, row).status
        except Unavailable:
            raise
        except Exception:
            if row_id is None:
                raise
            log.exception("%s %s could not be ended", table.__tablename__, row_id)
            stuck.append(row_id)
            state = _STUCK
        states.append(state)
    return states


def _short_tasks(tasks: ShortTasks[Row]) -> list[str]:
    """As `_each`, for scorings or generations."""
    return [
        *_each(tasks.table, tasks.lease_ran_out, tasks.lose),
        *_each(tasks.table, tasks.waited_too_long, tasks.expire),
    ]


def _lease_ran_out() -> ColumnElement[bool]:
    return Job.lease_until < func.clock_timestamp()


def _waited_too_long() -> ColumnElement[bool]:
    """A job that ran before is not expired: with a checkpoint, a worker can still end it in order."""
    now = func.clock_timestamp()
    too_long_in_queue = Job.started_at.is_(None) & (Job.queue_expires_at < now)
    nothing_to_save = ~select(Checkpoint.id).where(Checkpoint.job_id == Job.id).exists()
    too_late = (Job.deadline_at < now) & nothing_to_save
    return (Job.status == Status.QUEUED) & (too_long_in_queue | too_late)


def _expire(session: Session, job: Job) -> Job:
    late = job.deadline_at is not None and job.deadline_at < db.utc_now()
    spent = "Nothing was spent." if job.started_at is None else "What it had learned was not kept."
    what = "deadline_at passed" if late else "max_queue_s passed"
    error = JobError(
        code="queue_expired",
        message=f"{what} before a worker could {'start' if job.started_at is None else 'go on with'} the job.",
        hint=f"{spent} Submit it again with more time, or when less is queued.",
    )
    return claims.fail_queued(session, job, error)


def _stranded() -> Callable[[], ColumnElement[bool]]:
    with db.read() as session:
        found = memory_shortage.stranded(session)
    return lambda: found


def _strand(session: Session, job: Job) -> Job:
    return claims.fail_queued(session, job, memory_shortage.stranded_error(job))


def _hint(table: type[Job] | type[Scoring] | type[Generation], ring: Callable[[UUID], None]) -> int:
    """Rings for queued rows that no worker was told of lately."""
    settings = get_settings()
    old = func.clock_timestamp() - timedelta(seconds=settings.hint_age_s)
    first = (Job.priority, Job.created_at) if table is Job else (table.created_at,)
    due: ColumnElement[bool] = table.hinted_at < old
    if table is Job:
        # A job that waited after a failure may run now, and nobody was told since.
        ready = Job.run_after <= func.clock_timestamp()
        due = ready & (due | (Job.hinted_at < Job.run_after))
    waiting = (
        select(table.id)
        .where(table.status == Status.QUEUED, due)
        .order_by(*first)
        .limit(_HINTS_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    with db.transaction() as session:
        if table is Job:
            waiting = waiting.where(_holdable(session))
        told = (
            update(table)
            .where(table.id.in_(waiting.scalar_subquery()))
            .values(hinted_at=func.clock_timestamp())
            .returning(table.id)
            .execution_options(synchronize_session=False)
        )
        row_ids = list(session.scalars(told))
        for row_id in row_ids:
            db.after_commit(session, partial(ring, row_id))
    return len(row_ids)


def _holdable(session: Session) -> ColumnElement[bool]:
    """SQL over `Job`: a worker that is there could hold it. A larger one looks for itself when it comes."""
    most = capacity.most_gib(workers.living(session))
    return true() if most is None else or_(Job.least_gib.is_(None), Job.least_gib <= most)


def _remove_objects() -> int:
    store = open_store(get_settings())
    return garbage.sweep_objects(store) + generation_files.remove_due(store)


def _purge() -> int:
    """Deletes answers kept for repeated requests, workers not seen, and sessions that are over, for
    longer than promised."""
    keep = timedelta(days=get_settings().idempotency_keep_days)
    long_ago = func.clock_timestamp() - keep
    with db.transaction() as session:
        answers = delete(IdempotencyKey).where(IdempotencyKey.created_at < long_ago)
        unseen = delete(Worker).where(Worker.last_seen_at < long_ago)
        over = (MemberSession.ended_at < long_ago) | (MemberSession.expires_at < long_ago)
        gone = [
            *session.scalars(delete(MemberSession).where(over).returning(MemberSession.id)),
            *session.scalars(answers.returning(IdempotencyKey.key)),
            *session.scalars(unseen.returning(Worker.name)),
        ]
    return len(gone)
