"""Cancelling many jobs at once, only if they are as many as whoever asks expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from domain import jobs
from domain.errors import CountMismatch, ValidationFailed
from domain.job_list import JobFilters, conditions, values_of
from domain.job_status import Status, sources
from domain.tables import Job
from vader_core.faults import Fault

AT_ONCE = 1000


def batch_cancel(
    session: Session,
    *,
    project_id: UUID,
    which: Sequence[UUID] | JobFilters,
    expected_count: int,
    keep_adapter: bool = True,
) -> list[Job]:
    """Asks to cancel those of the project's jobs that are neither over nor being cancelled.

    `which` are their ids or filters as in a list. Raises `CountMismatch` when they are not exactly
    `expected_count`, and `ValidationFailed` for ids that the project does not have; then none is cancelled.
    """
    meant, values = _meant(session, project_id, which)
    open_ones = [
        Job.project_id == project_id,
        Job.status.in_(sources(Status.CANCELLING)),
        *meant,
    ]
    query = select(Job.id).where(*open_ones).order_by(Job.id).limit(expected_count + 1)
    found = list(session.scalars(query.with_for_update(), values))
    if len(found) != expected_count:
        counted = select(func.count()).select_from(Job).where(*open_ones)
        count = session.scalars(counted, values).one()
        detail = f"{count} jobs would be cancelled, not {expected_count}. None was."
        raise CountMismatch(detail, count=count, expected_count=expected_count)
    return [
        jobs.request_cancel(
            session, project_id=project_id, job_id=job_id, keep_adapter=keep_adapter
        )
        for job_id in found
    ]


def _meant(
    session: Session, project_id: UUID, which: Sequence[UUID] | JobFilters
) -> tuple[list[ColumnElement[bool]], dict[str, Any]]:
    """Conditions, and the values that they compare with."""
    if isinstance(which, JobFilters):
        values = values_of(which)
        return conditions(values), values
    query = select(Job.id).where(Job.project_id == project_id, Job.id.in_(which))
    known = set(session.scalars(query))
    unknown = [
        Fault(
            pointer=f"/ids/{index}",
            code="not_found",
            detail="There is no such job in this project.",
        )
        for index, job_id in enumerate(which)
        if job_id not in known
    ]
    if unknown:
        raise ValidationFailed(unknown)
    return [Job.id.in_(which)], {}
