"""Which queued job a worker takes next, and who takes those that it leaves."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, func, not_, select
from sqlalchemy.orm import Session, aliased

from domain import capacity, quotas, workers
from domain.capacity import Need
from domain.job_status import HELD, Status
from domain.tables import Job


def next_for(session: Session, *, hardware: str, without_room: Collection[UUID]) -> Job | None:
    """The job that a worker with this hardware should run next, locked; None when none waits for it.

    None of the projects `without_room`. See `claims.claim`.
    """
    other = aliased(Job)
    running = (
        select(other.project_id, func.count().label("jobs"))
        .where(other.finished_at.is_(None), other.status.in_(HELD))
        .group_by(other.project_id)
        .subquery("running")
    )
    query = (
        select(Job)
        .outerjoin(running, running.c.project_id == Job.project_id)
        .where(*_ready(), Job.project_id.not_in(without_room))
        .order_by(func.coalesce(running.c.jobs, 0), Job.priority, Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
    )
    taken = capacity.taken_by(hardware, workers.living(session))
    return session.scalar(query if taken is None else query.where(taken))


def takers_of_left(session: Session, *, hardware: str) -> list[str]:
    """The idle workers that would take what a worker with this hardware leaves: it may be that nobody else was
    told of it. A busy one looks for itself when it is done."""
    living = workers.living(session)
    taken = capacity.taken_by(hardware, living)
    if taken is None:
        return []
    left = select(Job.least_gib, Job.peak_gib).where(*_ready(), not_(taken)).distinct()
    needs = [Need(least, peak) for least, peak in session.execute(left)]
    able = {taker.name for need in needs for taker in capacity.takers(need, living)}
    held = select(Job.owner).where(Job.finished_at.is_(None), Job.status.in_(HELD))
    return sorted(able.difference(session.scalars(held)))


def _ready() -> list[ColumnElement[bool]]:
    """SQL: jobs that are queued and may start now."""
    ready = Job.run_after <= func.clock_timestamp()
    return [Job.status == Status.QUEUED, ready, quotas.may_start()]
