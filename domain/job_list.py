"""The list of a project's jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    literal_column,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from domain import job_reading
from domain.job_reading import Seen
from domain.pages import Page, cut, place_of
from domain.reads import Reads
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


async def list_jobs(
    reads: Reads,
    *,
    project_id: UUID,
    filters: JobFilters,
    cursor: str | None,
    limit: int,
    oldest_first: bool = False,
) -> Page[Seen]:
    """The project's jobs by age, newest first unless told otherwise, without their specs.

    Raises `InvalidCursor`.
    """
    values = values_of(filters)
    query = narrowed(
        frozenset(values), after=cursor is not None, most=limit + 1, oldest_first=oldest_first
    )
    place: dict[str, Any] = {}
    if cursor is not None:
        place["at"], place["id"] = place_of(
            cursor, _name(project_id, filters, oldest_first=oldest_first)
        )
    found = await job_reading.looks(
        reads, query, plan_for_values=not _is_plain(values), project=project_id, **values, **place
    )
    if len(found) <= limit:
        return Page(found, None)
    asked = _name(project_id, filters, oldest_first=oldest_first)
    return cut(
        found, limit, filtered_by=asked, place=lambda seen: (seen.job.created_at, seen.job.id)
    )


def _name(project_id: UUID, filters: JobFilters, *, oldest_first: bool) -> str:
    return f"jobs {project_id} {filters} {oldest_first}"


def _is_plain(names: Collection[str]) -> bool:
    """Whether one index serves the list whatever the values are: all jobs, or those of one status."""
    return _PLAIN.issuperset(names)


@lru_cache(maxsize=400)
def narrowed(
    names: frozenset[str], *, after: bool, most: int, oldest_first: bool = False
) -> Select[Any]:
    """The query for `most` jobs, the same object for the same filters, so that it is compiled and planned once.

    The number is written into it: the planner takes an unknown one for a tenth of all rows.
    """
    keys = (Job.created_at, Job.id)
    query = job_reading.LISTED.where(Job.project_id == bindparam("project"), *conditions(names))
    if after:
        here, place = (
            tuple_(*keys),
            tuple_(bindparam("at", type_=DateTime(timezone=True)), bindparam("id", type_=Uuid())),
        )
        query = query.where(here > place if oldest_first else here < place)
    order = keys if oldest_first else tuple(key.desc() for key in keys)
    return query.order_by(*order).limit(literal_column(str(most)))


def conditions(names: Iterable[str]) -> list[ColumnElement[bool]]:
    """What filters ask of a job, as SQL over `bindparam`s with these names: those of `values_of`."""
    return [_CONDITIONS[name] for name in sorted(names)]


def values_of(filters: JobFilters) -> dict[str, Any]:
    """What the filters that are given compare with, by the names of `conditions`."""
    statuses = sorted({str(status) for status in filters.statuses})
    given = {
        "of_status": statuses[0] if len(statuses) == 1 else None,
        "of_statuses": statuses if len(statuses) > 1 else None,
        **_versioned("of_base_model", filters.base_model),
        "of_method": filters.method,
        **{name: [each] for name, each in _versioned("of_reward", filters.reward).items()},
        **_versioned("of_template", filters.template),
        "of_parent": filters.parent,
        "of_key": filters.created_by_key,
        "of_member": filters.created_by_member,
        "with_labels": json.dumps(dict(filters.labels)) if filters.labels else None,
        "after": filters.created_after,
        "before": filters.created_before,
        "with_text": _ESCAPED.sub(r"/\g<0>", filters.text) if filters.text else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _versioned(name: str, reference: str | None) -> dict[str, str]:
    """An "id", or an "id@version", which both are found by one index."""
    if not reference:
        return {}
    row_id, at, _ = reference.partition("@")
    return {name: row_id, f"{name}_version": reference} if at else {name: row_id}


_PLAIN = frozenset({"of_status"})
_ESCAPED = re.compile(r"[/%_]")
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "of_status": Job.status == bindparam("of_status"),
    "of_statuses": Job.status == any_(bindparam("of_statuses", type_=ARRAY(Text()))),
    "of_base_model": Job.base_model_id == bindparam("of_base_model"),
    "of_base_model_version": Job.base_model == bindparam("of_base_model_version"),
    "of_method": Job.method == bindparam("of_method"),
    "of_reward": Job.reward_ids.contains(bindparam("of_reward", type_=ARRAY(Text()))),
    "of_reward_version": Job.rewards.contains(bindparam("of_reward_version", type_=ARRAY(Text()))),
    "of_template": Job.template_id == bindparam("of_template"),
    "of_template_version": Job.template == bindparam("of_template_version"),
    "of_parent": Job.parent_job_id == bindparam("of_parent"),
    "of_key": Job.created_by_key_id == bindparam("of_key"),
    "of_member": Job.created_by_member_id == bindparam("of_member"),
    "with_labels": Job.labels.contains(cast(bindparam("with_labels", type_=Text()), JSONB)),
    "after": Job.created_at > bindparam("after"),
    "before": Job.created_at < bindparam("before"),
    "with_text": Job.name.icontains(bindparam("with_text", type_=Text()), escape="/"),
}
