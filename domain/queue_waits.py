"""How long a job waits for a worker: by those before it, the workers there are, and how long jobs took."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from domain import workers
from domain.db import all_projects
from domain.job_status import HELD, Status
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


def ahead_of_new(session: Session, *, priority: int) -> int:
    """How many queued jobs a new job of `priority` (0 high, 2 low) would find before it."""
    query = select(func.count()).where(Job.status == Status.QUEUED, Job.priority <= priority)
    with all_projects(session):
        return session.scalars(query).one()


def expected(session: Session, *, ahead: int) -> Wait:
    """The wait of a job with `ahead` queued jobs before it. See `expected_waits`."""
    return _wait(_look(session), ahead)


def expected_waits(session: Session, ahead: Collection[int]) -> dict[int, tuple[float, float]]:
    """Median and 90th percentile of the wait, in seconds, by the number of queued jobs before.

    Every busy worker is taken to be half-way through its job. What a project's quota holds back and fair
    share between projects are not counted in. Nothing is there for waits that are not known.
    """
    if not ahead:
        return {}
    seen = _look(session)
    waits = {number: _wait(seen, number) for number in ahead}
    return {
        number: (wait.p50, wait.p90)
        for number, wait in waits.items()
        if wait.p50 is not None and wait.p90 is not None
    }


@dataclass(frozen=True)
class _Seen:
    """Living workers, jobs that they hold, and seconds for which the newest finished jobs held one."""

    living: int
    held: int
    took: Sequence[float]


def _look(session: Session) -> _Seen:
    held = select(func.count()).where(Job.status.in_(HELD), Job.finished_at.is_(None))
    finished = (
        select(Job.wall_clock_s)
        .where(Job.status == Status.SUCCEEDED)
        .order_by(Job.finished_at.desc())
        .limit(_NEWEST)
    )
    with all_projects(session):
        return _Seen(
            living=len(workers.living(session)),
            held=session.scalars(held).one(),
            took=session.scalars(finished).all(),
        )


def _wait(seen: _Seen, ahead: int) -> Wait:
    free = max(seen.living - seen.held, 0)
    if not seen.living:
        return UNKNOWN
    if ahead < free:
        return Wait("analytic", 0.0, 0.0)
    took = quantiles(seen.took)
    if took is None:
        return UNKNOWN
    turns = (ahead - free + 0.5) / seen.living
    return Wait("measured", turns * took[0], turns * took[1])
