"""The list of a project's jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, SQLColumnExpression, Text, and_, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from domain.jobs import WITHOUT_SPECS
from domain.pages import Page, page
from domain.tables import Job


@dataclass(frozen=True, kw_only=True)
class JobFilters:
    """What a list is narrowed to; every filter that is given must hold.

    `base_model` and `reward` are "id" or "id@version", `template` "tpl_..." or "tpl_...@2", `method` is a
    type; `parent` is the job that these were made from; `text` is looked for in names.
    """

    statuses: Sequence[str] = ()
    base_model: str | None = None
    method: str | None = None
    reward: str | None = None
    template: str | None = None
    parent: UUID | None = None
    created_by_key: UUID | None = None
    created_by_member: UUID | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None


def list_jobs(
    session: Session,
    *,
    project_id: UUID,
    filters: JobFilters,
    cursor: str | None,
    limit: int,
    oldest_first: bool = False,
) -> Page[Job]:
    """The project's jobs by age, newest first unless told otherwise, without their specs.

    Raises `InvalidCursor`.
    """
    query = select(Job).where(Job.project_id == project_id, *conditions(filters))
    filtered_by = json.dumps(
        [str(project_id), asdict(filters), oldest_first], default=str, sort_keys=True
    )
    return page(
        session,
        query.options(*WITHOUT_SPECS),
        keys=(Job.created_at, Job.id),
        filtered_by=f"jobs {filtered_by}",
        cursor=cursor,
        limit=limit,
        oldest_first=oldest_first,
    )


def conditions(filters: JobFilters) -> list[ColumnElement[bool]]:
    """What the filters ask of a job, as SQL."""
    asked: list[ColumnElement[bool] | None] = [
        Job.status.in_(filters.statuses) if filters.statuses else None,
        _named(Job.base_model, filters.base_model) if filters.base_model else None,
        Job.method == filters.method if filters.method else None,
        _has_reward(filters.reward) if filters.reward else None,
        _named(Job.template, filters.template) if filters.template else None,
        Job.parent_job_id == filters.parent if filters.parent else None,
        Job.created_by_key_id == filters.created_by_key if filters.created_by_key else None,
        Job.created_by_member_id == filters.created_by_member
        if filters.created_by_member
        else None,
        Job.labels.contains(dict(filters.labels)) if filters.labels else None,
        Job.created_at > filters.created_after if filters.created_after else None,
        Job.created_at < filters.created_before if filters.created_before else None,
        Job.name.icontains(filters.text, autoescape=True) if filters.text else None,
    ]
    return [condition for condition in asked if condition is not None]


def _has_reward(name: str) -> ColumnElement[bool]:
    if "@" in name:
        return Job.rewards.contains([name]) & _rewards_named(name.partition("@")[0])
    return _rewards_named(name)


def _rewards_named(name: str) -> ColumnElement[bool]:
    names = func.reward_names(Job.rewards, type_=ARRAY(Text()))
    return names.contains([name])


def _named(column: SQLColumnExpression[Any], name: str) -> ColumnElement[bool]:
    """`name` with a version means that version, without one any. Both are found by one index."""
    without_version = func.split_part(column, "@", 1) == name.partition("@")[0]
    return and_(without_version, column == name) if "@" in name else without_version
