"""What a project used, by day or month, base model, team and kind: sums over the ledger of usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Date, Text, cast, func, null, select, text
from sqlalchemy.orm import Session

from domain.access_tables import UsageEntry

Group = Literal["base_model", "team", "kind"]
Interval = Literal["day", "month"]


@dataclass(frozen=True)
class Used:
    """The sums of one group in the interval that begins on `first`. None: not grouped by that."""

    first: date | None
    base_model: str | None
    team: str | None
    kind: str | None
    gpu_seconds: float
    reward_queries: int
    evaluation_queries: int


def report(
    session: Session,
    *,
    project_id: UUID,
    groups: Sequence[Group],
    first: date,
    last: date,
    interval: Interval | None,
) -> list[Used]:
    """One row for each group and interval with usage from `first` to `last` (both included), in order."""
    begin: ColumnElement[Any] = (
        cast(null(), Date)
        if interval is None
        else cast(func.date_trunc(interval, UsageEntry.day), Date)
    )
    names = (UsageEntry.base_model, UsageEntry.team, UsageEntry.kind)
    keys: list[ColumnElement[Any]] = [
        begin.label("first"),
        *((n if n.key in groups else cast(null(), Text)).label(f"by_{n.key}") for n in names),
    ]
    sums: list[ColumnElement[Any]] = [
        func.sum(counter).label(counter.key)
        for counter in (
            UsageEntry.gpu_seconds,
            UsageEntry.reward_queries,
            UsageEntry.evaluation_queries,
        )
    ]
    places = [text(str(place)) for place in range(1, len(keys) + 1)]
    query = (
        select(*keys, *sums)
        .where(UsageEntry.project_id == project_id, UsageEntry.day.between(first, last))
        .group_by(*places)
        .order_by(*places)
    )
    return [
        Used(first, model, team, kind, float(seconds), int(queries), int(evaluations))
        for first, model, team, kind, seconds, queries, evaluations in session.execute(query)
    ]


def total(rows: Sequence[Used]) -> Used:
    """The sum of `rows`."""
    return Used(
        first=None,
        base_model=None,
        team=None,
        kind=None,
        gpu_seconds=sum(row.gpu_seconds for row in rows),
        reward_queries=sum(row.reward_queries for row in rows),
        evaluation_queries=sum(row.evaluation_queries for row in rows),
    )


def cost(row: Used, gpu_second_price: Decimal) -> Decimal:
    """What `row` costs at the given price of a GPU-second."""
    return Decimal(str(row.gpu_seconds)) * gpu_second_price
