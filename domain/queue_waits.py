"""How long a job waits for a worker: by those before it, the workers there are, and how long jobs took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from domain import capacity, workers
from domain.capacity import Need
from domain.db import all_projects
from domain.hardware_classes import gpu_gib
from domain.job_status import HELD, Status
from domain.service_tables import Worker
from domain.similar_runs import quantiles
from domain.tables import Job

_NEWEST = 100


@dataclass(frozen=True)
class Wait:
    """Seconds; None: not known. A free worker is known at once, everything else comes from finished jobs."""

    basis: Literal["measured", "analytic", "unknown"]
    p50: float | None
    p90: float | None


UNKNOWN = Wait("unknown", None, None)


@dataclass(frozen=True)
class Seen:
    """Living workers, which of them hold jobs, and seconds for which the newest finished jobs held one.

    `stuck` are the places in the queue of jobs that none of the workers can hold: nobody waits for those.
    """

    living: Sequence[Worker]
    busy: frozenset[str]
    took: Sequence[float]
    stuck: Sequence[Row[int, datetime, UUID]]


def look(session: Session) -> Seen:
    """What waits are estimated from: one look does for any number of jobs."""
    held = select(Job.owner).where(Job.status.in_(HELD), Job.finished_at.is_(None))
    finished = (
        select(Job.wall_clock_s)
        .where(Job.status == Status.SUCCEEDED)
        .order_by(Job.finished_at.desc())
        .limit(_NEWEST)
    )
    with all_projects(session):
        living = workers.living(session)
        return Seen(
            living=living,
            busy=frozenset(owner for owner in session.scalars(held) if owner is not None),
            took=session.scalars(finished).all(),
            stuck=_stuck(session, living),
        )


def of_new(session: Session, *, priority: int, need: Need) -> Wait:
    """The wait of a job of `priority` (0 high, 2 low) that is made now.

    Workers that would not take it do not count, and every busy one is taken to be half-way through its job.
    What a project's quota holds back and fair share between projects are not counted in, and every job before
    it may need the same workers.
    """
    before = select(func.count()).where(Job.status == Status.QUEUED, Job.priority <= priority)
    seen = look(session)
    with all_projects(session):
        ahead = session.scalars(before).one()
    stuck = sum(place[0] <= priority for place in seen.stuck)
    return _wait(seen, ahead=ahead - stuck, need=need)


def of_queued(seen: Seen, job: Job, *, place: int) -> Wait:
    """As `of_new`, for a job that has its place in the queue, from 1."""
    own = (job.priority, job.created_at, job.id)
    stuck = sum(tuple(other) < own for other in seen.stuck)
    return _wait(seen, ahead=place - 1 - stuck, need=Need(job.least_gib, job.peak_gib))


def no_worker_can_hold(seen: Seen, job: Job) -> bool:
    """Whether workers are there, and none of them would ever take the job."""
    return bool(seen.living) and not capacity.takers(Need(job.least_gib, job.peak_gib), seen.living)


def _stuck(session: Session, living: Sequence[Worker]) -> Sequence[Row[int, datetime, UUID]]:
    largest = capacity.largest_gib(living)
    if largest is None or None in {gpu_gib(worker.hardware) for worker in living}:
        return []
    query = select(Job.priority, Job.created_at, Job.id)
    return session.execute(query.where(Job.status == Status.QUEUED, Job.least_gib > largest)).all()


def _wait(seen: Seen, *, ahead: int, need: Need) -> Wait:
    able = {worker.name for worker in capacity.takers(need, seen.living)}
    if not able:
        return UNKNOWN
    free = len(able - seen.busy)
    if ahead < free:
        return Wait("analytic", 0.0, 0.0)
    took = quantiles(seen.took)
    if took is None:
        return UNKNOWN
    turns = (ahead - free + 0.5) / len(able)
    return Wait("measured", turns * took[0], turns * took[1])
