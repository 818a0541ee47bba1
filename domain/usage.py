"""The ledger of usage: GPU-seconds and queries by project, day, kind and base model.

A row belongs to one job, generation or scoring and one day, so that projects' writers do not meet.
Entries are written in the transaction in which the counters themselves grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain.access_tables import UsageEntry
from domain.tables import Job

Kind = Literal["training", "generation", "scoring"]
TODAY = text("(clock_timestamp() AT TIME ZONE 'UTC')::date")
_COUNTERS = ("gpu_seconds", "reward_queries", "evaluation_queries")


@dataclass(frozen=True)
class Spent:
    """A job's counters at one moment."""

    gpu_seconds: float
    reward_queries: int
    evaluation_queries: int


def add(  # noqa: PLR0913 (the columns of one entry)
    session: Session,
    *,
    project_id: UUID,
    kind: Kind,
    subject_id: UUID,
    base_model: str,
    team: str = "",
    gpu_seconds: float = 0.0,
    reward_queries: int = 0,
    evaluation_queries: int = 0,
) -> None:
    """Adds to what `subject_id` (a job, generation or scoring) used today. All amounts are >= 0."""
    amounts = {
        "gpu_seconds": gpu_seconds,
        "reward_queries": reward_queries,
        "evaluation_queries": evaluation_queries,
    }
    if not any(amounts.values()):
        return
    row = insert(UsageEntry).values(
        subject_id=subject_id,
        day=TODAY,
        project_id=project_id,
        kind=kind,
        base_model=base_model,
        team=team,
        **amounts,
    )
    grown = {name: getattr(UsageEntry, name) + row.excluded[name] for name in _COUNTERS}
    place = [UsageEntry.subject_id, UsageEntry.day]
    session.execute(row.on_conflict_do_update(index_elements=place, set_=grown))


def spent(job: Job) -> Spent:
    """The job's counters as they are now, for `add_growth`."""
    return Spent(job.gpu_seconds, job.reward_queries, job.evaluation_queries)


def add_growth(session: Session, job: Job, *, since: Spent) -> None:
    """Adds what the job's counters grew by since `since` was taken, in the same transaction."""
    now = spent(job)
    add(
        session,
        project_id=job.project_id,
        kind="training",
        subject_id=job.id,
        base_model=job.base_model,
        team=str(job.labels.get("team", "")),
        gpu_seconds=now.gpu_seconds - since.gpu_seconds,
        reward_queries=now.reward_queries - since.reward_queries,
        evaluation_queries=now.evaluation_queries - since.evaluation_queries,
    )


def gpu_seconds_this_month(session: Session, project_id: UUID) -> float:
    """GPU-seconds that the project used since the month began (UTC), of all kinds."""
    used = func.coalesce(func.sum(UsageEntry.gpu_seconds), 0.0)
    query = select(used).where(UsageEntry.project_id == project_id, UsageEntry.day >= month_start())
    return float(session.scalars(query).one())


def month_start() -> ColumnElement[Any]:
    """SQL: midnight (UTC) at which the present month began, as a timestamp with time zone."""
    return func.date_trunc("month", func.now(), "UTC")
