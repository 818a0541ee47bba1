"""How long a job waits for a worker: by those before it, the workers there are, and how long jobs took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, true, tuple_
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
Ahead = Mapping[float, int]
"""Jobs before one, by GiB of a worker's GPU (`_NO_GPU`; without limit: all of them): those that such a worker
would take."""
_NO_GPU = 0.0


@dataclass(frozen=True)
class Wait:
    """Seconds; None: not known. A free worker is known at once, everything else comes from finished jobs."""

    basis: Literal["measured", "analytic", "unknown"]
    p50: float | None
    p90: float | None


UNKNOWN = Wait("unknown", None, None)


@dataclass(frozen=True)
class Seen:
    """Living workers, which of them hold jobs, seconds for which the newest finished jobs held one, and for each
    queued job that was asked for, by the memory of a worker, how many jobs before it such a worker would take."""

    living: Sequence[Worker]
    busy: frozenset[str]
    took: Sequence[float]
    ahead: Mapping[UUID, Ahead]


def look(session: Session, jobs: Sequence[Job] = ()) -> Seen:
    """What waits are estimated from: one look does for any number of `jobs`."""
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
            ahead=_ahead(session, living, jobs) if living and jobs else {},
        )


def of_new(session: Session, *, priority: int, need: Need) -> Wait:
    """The wait of a job of `priority` (0 high, 2 low) that is made now.

    Workers that would not take it do not count, nor jobs before it that those would not take, and every busy
    worker is taken to be half-way through its job. What a project's quota holds back and fair share between
    projects are not counted in.
    """
    seen = look(session)
    if not seen.living:
        return UNKNOWN
    takes = _takes(seen.living)
    counts = [func.count().filter(taken) for taken in takes.values()]
    before = select(*counts).where(Job.status == Status.QUEUED, Job.priority <= priority)
    with all_projects(session):
        ahead = session.execute(before).one()
    return _wait(seen, dict(zip(takes, ahead, strict=True)), need)


def of_queued(seen: Seen, job: Job) -> Wait:
    """As `of_new`, for a queued job that was looked for; `UNKNOWN` where it has just left the queue."""
    ahead = seen.ahead.get(job.id)
    return UNKNOWN if ahead is None else _wait(seen, ahead, Need(job.least_gib, job.peak_gib))


def no_worker_can_hold(living: Sequence[Worker], need: Need) -> bool:
    """Whether workers are there, and none of them would ever take a job of this need."""
    return bool(living) and not capacity.takers(need, living)


def _ahead(session: Session, living: Sequence[Worker], jobs: Sequence[Job]) -> dict[UUID, Ahead]:
    """Counted by the database: the queue may be long."""
    takes, order = _takes(living), (Job.priority, Job.created_at, Job.id)
    counts = [
        func.count().filter(taken).over(order_by=order, rows=(None, -1)).label(f"ahead_{index}")
        for index, taken in enumerate(takes.values())
    ]
    last = max((job.priority, job.created_at, job.id) for job in jobs)
    up_to_last = tuple_(*order) <= tuple_(*last)
    queue = select(Job.id, *counts).where(Job.status == Status.QUEUED, up_to_last).subquery()
    wanted = select(queue).where(queue.c.id.in_([job.id for job in jobs]))
    return {
        row_id: dict(zip(takes, ahead, strict=True)) for row_id, *ahead in session.execute(wanted)
    }


def _takes(living: Sequence[Worker]) -> dict[float, ColumnElement[bool]]:
    """SQL over `Job`: what workers take, by the memory that they have; without limit, everything."""
    found: dict[float, ColumnElement[bool]] = {math.inf: true()}
    for hardware in {worker.hardware for worker in living}:
        taken = capacity.taken_by(hardware, living)
        if taken is not None:
            found[gpu_gib(hardware) or _NO_GPU] = taken
    return found


def _room(worker: Worker, living: Sequence[Worker]) -> float:
    """The worker's memory as in `_takes`."""
    if capacity.taken_by(worker.hardware, living) is None:
        return math.inf
    return gpu_gib(worker.hardware) or _NO_GPU


def _wait(seen: Seen, ahead: Ahead, need: Need) -> Wait:
    """The shortest of the waits for workers with up to so much memory, for those without GPUs, and for all.

    What one with less memory takes, one with more takes: so among workers with up to so much, nobody is before
    the job but those that the largest of them takes.
    """
    room = {each.name: _room(each, seen.living) for each in capacity.takers(need, seen.living)}
    turns = []
    for most in {*room.values(), math.inf} if room else ():
        least = _NO_GPU if most in (_NO_GPU, math.inf) else math.nextafter(_NO_GPU, 1.0)
        names = {name for name, gib in room.items() if least <= gib <= most}
        free = len(names - seen.busy)
        if ahead[most] < free:
            return Wait("analytic", 0.0, 0.0)
        turns.append((ahead[most] - free + 0.5) / len(names))
    took = quantiles(seen.took)
    if not turns or took is None:
        return UNKNOWN
    return Wait("measured", min(turns) * took[0], min(turns) * took[1])
