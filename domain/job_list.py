"""The list of a project's jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, or_, select
from sqlalchemy.orm import Session

from domain.jobs import WITHOUT_SPECS
from domain.pages import Page, page
from domain.tables import Job


@dataclass(frozen=True, kw_only=True)
class JobFilters:
    """What a list is narrowed to; every filter that is given must hold.

    `base_model` and `reward` are "id" or "id@version", `method` is a type; `text` is looked for in names.
    """

    statuses: Sequence[str] = ()
    base_model: str | None = None
    method: str | None = None
    reward: str | None = None
    created_by: UUID | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None


def list_jobs(
    session: Session, *, project_id: UUID, filters: JobFilters, cursor: str | None, limit: int
) -> Page[Job]:
    """The project's jobs, newest first, without their specs. Raises `InvalidCursor`."""
    query = select(Job).where(Job.project_id == project_id)
    query = query.options(*WITHOUT_SPECS)
    filtered_by = json.dumps([str(project_id), asdict(filters)], default=str, sort_keys=True)
    return page(
        session,
        _narrowed(query, filters),
        keys=(Job.created_at, Job.id),
        filtered_by=f"jobs {filtered_by}",
        cursor=cursor,
        limit=limit,
    )


def _narrowed(query: Select[Job], filters: JobFilters) -> Select[Job]:
    conditions: list[ColumnElement[bool] | None] = [
        Job.status.in_(filters.statuses) if filters.statuses else None,
        _named(Job.base_model, filters.base_model) if filters.base_model else None,
        Job.method == filters.method if filters.method else None,
        _has_reward(filters.reward) if filters.reward else None,
        Job.created_by_key_id == filters.created_by if filters.created_by else None,
        Job.labels.contains(dict(filters.labels)) if filters.labels else None,
        Job.created_at > filters.created_after if filters.created_after else None,
        Job.created_at < filters.created_before if filters.created_before else None,
        Job.name.icontains(filters.text, autoescape=True) if filters.text else None,
    ]
    return query.where(*(condition for condition in conditions if condition is not None))


def _has_reward(name: str) -> ColumnElement[bool]:
    rewards = func.unnest(Job.rewards).table_valued("reward").render_derived()
    return select(1).select_from(rewards).where(_named(rewards.c.reward, name)).exists()


def _named(column: SQLColumnExpression[str], name: str) -> ColumnElement[bool]:
    """`name` with a version means that version, without one any."""
    return or_(column == name, func.split_part(column, "@", 1) == name)
