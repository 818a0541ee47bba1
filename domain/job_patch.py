"""Changes of a job by its owners: name, labels, priority, and the budget while it is under way.

The budget in force is the column `Job.budget`; the job's spec stays as it was made. What was spent stays
spent, so no ceiling can be set below it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, JsonValue, ValidationError
from sqlalchemy.orm import Session

from domain import budgets, db, events, jobs, pausing
from domain.errors import EtagMismatch, ValidationFailed
from domain.job_status import Status
from domain.merge_patch import merged
from domain.tables import Attempt, Job, Json
from vader_core.faults import Fault, shape_faults
from vader_core.moment import Moment
from vader_core.spec import MOST_LABELS, Budget, LabelName, LabelValue, Money, Seconds
from vader_core.strict import Strict

_PLACES = {"max_cost": "max_cost/amount"}
_MERGED = ("labels", "budget")


class BudgetPatch(Strict):
    """Ceilings to change. null takes a ceiling away; `max_steps` and `on_exhausted` always have a value.

    None can be set below what is spent. `max_queue_s` counts for a job that has not started yet.
    """

    max_steps: int = Field(default=1, ge=1)
    max_reward_queries: int | None = Field(default=None, ge=1)
    max_gpu_seconds: Seconds | None = None
    max_wall_clock_s: Seconds | None = None
    deadline_at: Moment | None = None
    max_queue_s: Seconds | None = None
    max_cost: Money | None = None
    on_exhausted: Literal["finish", "pause"] = "finish"


class JobPatch(Strict):
    """What to change of a job: a merge patch (RFC 7396). What is left out stays as it is.

    A label that is null is taken away; a job carries at most 50. A raised budget reaches a running trainer
    within seconds.
    """

    name: str = Field(default="", max_length=200)
    labels: Annotated[dict[LabelName, LabelValue | None], Field(max_length=2 * MOST_LABELS)] = {}
    priority: Literal["low", "normal", "high"] = "normal"
    budget: BudgetPatch = BudgetPatch()


@dataclass(frozen=True)
class Patched:
    """The job as it is now; `fields` are those of its own that changed, `budget` what changed in that."""

    job: Job
    fields: list[str]
    budget: list[Json]


def patch(
    session: Session,
    *,
    project_id: UUID,
    job_id: UUID,
    document: JsonValue,
    seen: Collection[int] | None,
    further: Sequence[Fault] = (),
) -> Patched:
    """The job as `document`, a `JobPatch`, changes it; the worker hears of it by its next heartbeat.

    `seen` are the revisions that the client knows, None where any will do; `further` are faults of the
    document that the caller found. Raises `NotFound`, `EtagMismatch`, `InvalidTransition`, and
    `ValidationFailed` with every fault, having changed nothing.
    """
    job = jobs.locked(session, project_id=project_id, job_id=job_id)
    if seen is not None and job.revision not in seen:
        raise EtagMismatch("Its name, labels, priority or budget were changed since you read it.")
    pausing.require_action(job, "patch", "A job can be changed until it is finalised.")
    now = db.utc_now()
    wanted, shape = _sound_part(document)
    budget, spending = _checked_budget(session, job, wanted, now=now)
    faults = [*shape, *_label_faults(job, wanted), *spending, *further]
    if faults or budget is None:
        raise ValidationFailed(faults, what="change")
    changed = _set_plain(job, wanted)
    news = _set_budget(session, job, budget, now=now)
    if changed or news:
        job.version += 1
        job.revision += 1
        job.updated_at = now
        _tell(session, job, changed, news)
        # The database sets some of the times.
        session.flush()
        session.refresh(job)
    return Patched(job, changed, news)


def _sound_part(document: JsonValue) -> tuple[JobPatch, list[Fault]]:
    """What `document` asks for without its faulty members, and their faults."""
    try:
        return JobPatch.model_validate(document), []
    except ValidationError as error:
        faults = shape_faults(error, document)
        places = [found["loc"] for found in error.errors()]
    sound = dict(document) if isinstance(document, dict) else {}
    for place in places:
        name, *inner = (str(part) for part in place[:2]) if place else ("",)
        members = sound.get(name)
        if name in _MERGED and inner and isinstance(members, dict):
            sound[name] = {key: value for key, value in members.items() if key != inner[0]}
        else:
            sound.pop(name, None)
    return JobPatch.model_validate(sound), faults


def _checked_budget(
    session: Session, job: Job, wanted: JobPatch, *, now: datetime
) -> tuple[Budget, list[Fault]]:
    """The budget as it would be. What nobody changes is not judged: a deadline may have passed."""
    asked = wanted.budget.model_dump(mode="json", exclude_unset=True)
    budget = Budget.model_validate(merged(job.budget, asked))
    known = [
        fault
        for fault in budgets.faults(budget, now=now)
        if fault.pointer.removeprefix("/budget/").partition("/")[0] in asked
    ]
    return budget, [*known, *_below_spent(session, job, budget, asked.keys(), now=now)]


def _below_spent(
    session: Session, job: Job, budget: Budget, asked: Collection[str], *, now: datetime
) -> list[Fault]:
    attempt = session.get(Attempt, (job.id, job.attempt)) if job.attempt else None
    used = {name: c.used for name, c in budgets.usage(job, attempt, now=now).ceilings.items()}
    limits: dict[str, float | None] = {
        "max_steps": budget.max_steps,
        "max_reward_queries": budget.max_reward_queries,
        "max_gpu_seconds": budget.max_gpu_seconds,
        "max_wall_clock_s": budget.max_wall_clock_s,
        "max_cost": None if budget.max_cost is None else float(budget.max_cost.amount),
    }
    if job.started_at is None:
        limits["max_queue_s"] = budget.max_queue_s
    return [
        Fault(
            pointer=f"/budget/{_PLACES.get(name, name)}",
            code="below_spent",
            detail=f"{used[name]:g} is spent already; got {limit:g}.",
            nearest=[used[name]],
        )
        for name, limit in limits.items()
        if name in asked and limit is not None and limit < used[name]
    ]


def _label_faults(job: Job, wanted: JobPatch) -> list[Fault]:
    labels = merged(job.labels, dict(wanted.labels))
    count = len(labels) if isinstance(labels, dict) else 0
    if count <= MOST_LABELS:
        return []
    detail = f"The job would carry {count} labels; at most {MOST_LABELS} are possible."
    return [Fault(pointer="/labels", code="too_long", detail=detail, nearest=[MOST_LABELS])]


def _set_plain(job: Job, wanted: JobPatch) -> list[str]:
    """Sets name, labels and priority; the names of those that are others now."""
    values: dict[str, Any] = {
        "name": wanted.name,
        "priority": jobs.PRIORITIES[wanted.priority],
        "labels": merged(job.labels, dict(wanted.labels)),
    }
    changed = [
        name
        for name, value in values.items()
        if name in wanted.model_fields_set and getattr(job, name) != value
    ]
    for name in changed:
        setattr(job, name, values[name])
    return sorted(changed)


def _set_budget(session: Session, job: Job, budget: Budget, *, now: datetime) -> list[Json]:
    """Puts the budget in force; what changed: ceiling, and its limit before and after."""
    before, after = job.budget, budget.model_dump(mode="json")
    changes: list[Json] = [
        {"ceiling": name, "from": before[name], "to": after[name]}
        for name in after
        if after[name] != before[name]
    ]
    if not changes:
        return []
    if job.started_at is None and after["max_queue_s"] != before["max_queue_s"]:
        queue_s = budget.max_queue_s
        job.queue_expires_at = (
            None if queue_s is None else job.queued_at + timedelta(seconds=queue_s)
        )
    job.budget = after
    job.deadline_at = budget.deadline_at
    job.steps_total = budget.max_steps
    attempt = session.get(Attempt, (job.id, job.attempt)) if job.attempt else None
    close = {c.name for c in budgets.usage(job, attempt, now=now).to_warn_of()}
    job.warned_ceilings = [name for name in job.warned_ceilings if name in close]
    paused_at = budgets.CEILINGS.get(job.pause_reason or "")
    if job.status == Status.PAUSED and any(
        change["ceiling"] == paused_at
        and budgets.raises(change["ceiling"], change["from"], change["to"])
        for change in changes
    ):
        job.pause_reason = pausing.RAISED
    return changes


def _tell(session: Session, job: Job, changed: list[str], news: list[Json]) -> None:
    if changed:
        message = f"Changed: {', '.join(changed)}."
        data: Json = {"fields": changed}
        events.append(session, job_id=job.id, type="job.changed", message=message, data=data)
    if news:
        parts = [f"{c['ceiling']} from {_shown(c['from'])} to {_shown(c['to'])}" for c in news]
        message = f"The budget was changed: {', '.join(parts)}."
        data = {"changes": news, "budget": job.budget}
        events.append(session, job_id=job.id, type="job.budget_changed", message=message, data=data)


def _shown(limit: object) -> str:
    if isinstance(limit, dict):
        return f"{limit['amount']} {limit['currency']}"
    return "none" if limit is None else f"{limit}"
