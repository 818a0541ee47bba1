"""Usage and quotas of the project."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field

from api.deps import CallerDep, SettingsDep, scope
from api.openapi import problems
from api.problems import InputFault, InvalidParameters
from api.schemas.usage import QuotaShape, QuotasShape, UsageRow, UsageShape
from domain import db, quotas, usage_report
from domain.settings import Settings
from domain.usage_report import Group, Used

router = APIRouter(tags=["access"], dependencies=[scope("usage:read")])

LONGEST_DAYS = 366


def _iso(text: object) -> object:
    """Dates alone are dates: the framework would take numbers for seconds since 1970."""
    if isinstance(text, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError("write it as YYYY-MM-DD")
    return text


Day = Annotated[date, BeforeValidator(_iso), Field(ge=date(2000, 1, 1), le=date(2199, 12, 31))]


@router.get("/usage", responses=problems(403))
def get_usage(
    caller: CallerDep,
    settings: SettingsDep,
    group_by: Annotated[
        str, Query(max_length=100, description="Any of base_model, team, kind; by commas.")
    ] = "base_model",
    first: Annotated[
        Day | None, Query(alias="from", description="The first day (UTC); else 30 days ago.")
    ] = None,
    last: Annotated[
        Day | None, Query(alias="to", description="The last day, included; else today.")
    ] = None,
    interval: Annotated[
        Literal["day", "month"] | None, Query(description="One row for each; else for all.")
    ] = None,
) -> UsageShape:
    """GPU-seconds and reward queries by day or month, base model, team and kind. At most 366 days."""
    groups = _groups(group_by)
    last = last or db.utc_now().date()
    first = first or last - timedelta(days=30)
    _check_days(first, last)
    with db.read() as session:
        rows = usage_report.report(
            session,
            project_id=caller.project_id,
            groups=groups,
            first=first,
            last=last,
            interval=interval,
        )
    return UsageShape.model_validate(
        {
            "from": first,
            "to": last,
            "interval": interval,
            "group_by": groups,
            "currency": settings.currency,
            "data": [_shown(row, settings) for row in rows],
            "total": _shown(usage_report.total(rows), settings),
        }
    )


@router.get("/quotas", responses=problems(403))
def get_quotas(caller: CallerDep) -> QuotasShape:
    """What the project may use and what it uses now."""
    with db.read() as session:
        found = quotas.state(session, caller.project_id)
    return QuotasShape(
        data=[
            QuotaShape(
                name=quota.name,
                limit=quota.limit,
                used=quota.used,
                left=quota.left,
                resets_at=quota.resets_at,
                when_used_up="queued_jobs_wait" if quota.name == "running_jobs" else "refused",
            )
            for quota in found.values()
        ]
    )


def _groups(text: str) -> list[Group]:
    known: tuple[Group, ...] = get_args(Group)
    asked = [part.strip() for part in text.split(",") if part.strip()]
    for part in asked:
        if part not in known:
            detail = f"Known: {', '.join(known)}; got {part[:40]!r}."
            raise InvalidParameters([_fault("group_by", "not_in_set", detail)])
    return [group for group in known if group in asked]


def _check_days(first: date, last: date) -> None:
    if first > last:
        raise InvalidParameters([_fault("from", "out_of_range", "It comes after `to`.")])
    if (last - first).days >= LONGEST_DAYS:
        detail = f"At most {LONGEST_DAYS} days are told at once."
        raise InvalidParameters([_fault("from", "out_of_range", detail)])


def _fault(parameter: str, code: str, detail: str) -> InputFault:
    return InputFault(parameter=parameter, location="query", code=code, detail=detail)


def _shown(row: Used, settings: Settings) -> UsageRow:
    return UsageRow.model_validate(
        {
            "from": row.first,
            "base_model": row.base_model,
            "team": row.team,
            "kind": row.kind,
            "gpu_seconds": row.gpu_seconds,
            "reward_queries": row.reward_queries,
            "evaluation_queries": row.evaluation_queries,
            "cost": f"{usage_report.cost(row, settings.gpu_second_price):.2f}",
        }
    )
