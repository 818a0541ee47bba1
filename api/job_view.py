"""From the rows of a job to the shape that clients see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from api.schemas.jobs import (
    AdapterLink,
    BudgetShape,
    CostSpending,
    CreatedBy,
    CurrentAttempt,
    EvaluationSummary,
    JobLinks,
    JobShape,
    JobSummary,
    Progress,
    Queue,
    SheetLink,
    Spending,
)
from domain import api_keys, budgets, ids, jobs
from domain.db import utc_now
from domain.job_status import TERMINAL, Status, allowed_actions
from domain.tables import Attempt, Job

_PRIORITIES = ("high", "normal", "low")
POLL_AT_LEAST_S, POLL_AT_MOST_S = 1, 30


@dataclass(frozen=True)
class Around:
    """What stands in other rows than the job's own."""

    attempts: Mapping[UUID, Attempt]
    key_names: Mapping[UUID, str]
    positions: Mapping[UUID, int]


def whole(session: Session, job: Job) -> JobShape:
    """The job with its specs."""
    fields = _fields(job, _around(session, [job]), now=utc_now())
    return JobShape(**fields, spec=job.asked_spec, resolved_spec=job.spec)


def summaries(session: Session, listed: Sequence[Job]) -> list[JobSummary]:
    """Listed jobs, which have no specs loaded."""
    around = _around(session, listed)
    now = utc_now()
    return [JobSummary(**_fields(job, around, now=now)) for job in listed]


def _around(session: Session, shown: Sequence[Job]) -> Around:
    makers = {job.created_by_key_id for job in shown if job.created_by_key_id is not None}
    positions = {job.id: jobs.queue_position(session, job) for job in shown}
    return Around(
        attempts=jobs.current_attempts(session, shown),
        key_names=api_keys.names(session, makers),
        positions={job_id: place for job_id, place in positions.items() if place is not None},
    )


def _fields(job: Job, around: Around, *, now: datetime) -> dict[str, Any]:
    attempt = around.attempts.get(job.id)
    usage = budgets.usage(job, attempt, now=now)
    progress = _progress(job, usage, now=now)
    return {
        "id": ids.to_public("job", job.id),
        "name": job.name,
        "project_id": ids.to_public("prj", job.project_id),
        "base_model": job.base_model,
        "method": job.method,
        "rewards": job.rewards,
        "priority": _PRIORITIES[job.priority],
        "status": job.status,
        "phase": job.phase,
        "terminal": Status(job.status) in TERMINAL,
        "allowed_actions": allowed_actions(job.status),
        "stop_reason": job.stop_reason,
        "attempt": _attempt(attempt),
        "queue": _queue(job, around.positions.get(job.id)),
        "progress": progress,
        "budget": _budget(job, usage),
        "latest_metrics": job.latest_metrics,
        "evaluation": _evaluation(job),
        "adapter": _adapter(job),
        "sheet": _sheet(job),
        "error": job.error,
        "spec_hash": job.spec_hash,
        "labels": job.labels,
        "created_by": _maker(job, around),
        "trace_id": job.trace_id,
        "created_at": job.created_at,
        "queued_at": job.queued_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
        "version": job.version,
        "poll_after_s": _poll_after_s(job, progress),
        "links": _links(job),
    }


def _attempt(attempt: Attempt | None) -> CurrentAttempt | None:
    if attempt is None:
        return None
    return CurrentAttempt(
        number=attempt.number,
        started_at=attempt.started_at,
        hardware=attempt.hardware,
        last_heartbeat_at=attempt.last_heartbeat_at,
    )


def _queue(job: Job, position: int | None) -> Queue | None:
    if position is None:
        return None
    return Queue(position=position, expires_at=job.queue_expires_at)


def _progress(job: Job, usage: budgets.Usage, *, now: datetime) -> Progress:
    """Steps done, and when the rest is done or a ceiling of time ends it, at the present pace."""
    pace_s = (job.latest_metrics or {}).get("seconds")
    eta_at = None
    if pace_s is not None and job.status == Status.RUNNING:
        left_s = [(job.steps_total - job.step) * pace_s]
        for name in ("max_wall_clock_s", "deadline_at"):
            ceiling = usage.ceilings[name]
            if ceiling.limit is not None:
                left_s.append(max(ceiling.limit - ceiling.used, 0.0))
        eta_at = _later(now, min(left_s))
    return Progress(
        fraction=min(job.step / job.steps_total, 1.0),
        step=job.step,
        steps_total=job.steps_total,
        eta_at=eta_at,
        seconds_per_step=pace_s,
    )


def _later(now: datetime, seconds: float) -> datetime | None:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        # Millions of years: there is no date for it.
        return None


def _budget(job: Job, usage: budgets.Usage) -> BudgetShape:
    cost, ceilings = job.budget["max_cost"], usage.ceilings
    return BudgetShape(
        steps=_spending(ceilings["max_steps"]),
        reward_queries=_spending(ceilings["max_reward_queries"]),
        evaluation_queries=job.evaluation_queries,
        gpu_seconds=_spending(ceilings["max_gpu_seconds"]),
        wall_clock_s=_spending(ceilings["max_wall_clock_s"]),
        cost=CostSpending(
            limit=None if cost is None else str(cost["amount"]),
            used=str(usage.cost),
            currency=usage.currency,
            fraction=ceilings["max_cost"].fraction,
        ),
        deadline_at=job.deadline_at,
        max_queue_s=ceilings["max_queue_s"].limit,
        next_ceiling=usage.next_ceiling,
        on_exhausted=job.budget["on_exhausted"],
    )


def _spending(ceiling: budgets.Ceiling) -> Spending:
    return Spending(
        limit=ceiling.limit, used=round(ceiling.used, 3), fraction=_rounded(ceiling.fraction)
    )


def _rounded(fraction: float | None) -> float | None:
    return None if fraction is None else round(fraction, 4)


def _evaluation(job: Job) -> EvaluationSummary | None:
    line = job.evaluation
    if line is None:
        return None
    difference = line["difference"] or {}
    return EvaluationSummary(
        kind=line["kind"],
        step=line["step"],
        adapter_step=line.get("adapter_step"),
        baseline_heldout_reward=line["baseline_heldout_reward"],
        heldout_reward=line["heldout_reward"],
        delta=difference.get("delta"),
        delta_ci95=difference.get("delta_ci95"),
        verdict=line["verdict"],
        pairs_needed=line.get("pairs_needed"),
        guards=line["guards"],
    )


def _adapter(job: Job) -> AdapterLink | None:
    if job.adapter_id is None:
        return None
    public_id = ids.to_public("ad", job.adapter_id)
    url = f"/v1/adapters/{public_id}"
    return AdapterLink(id=public_id, url=url, files_url=f"{url}/files")


def _sheet(job: Job) -> SheetLink | None:
    if job.sheet is None:
        return None
    return SheetLink(
        size_bytes=job.sheet["size_bytes"],
        sha256=job.sheet["sha256"],
        url=f"/v1/jobs/{ids.to_public('job', job.id)}/sheet",
    )


def _maker(job: Job, around: Around) -> CreatedBy | None:
    if job.created_by_key_id is None:
        return None
    return CreatedBy(
        id=ids.to_public("key", job.created_by_key_id),
        name=around.key_names[job.created_by_key_id],
    )


def _poll_after_s(job: Job, progress: Progress) -> int | None:
    """About once a step is enough: nothing else changes faster."""
    if Status(job.status) in TERMINAL:
        return None
    pace_s = progress.seconds_per_step or 2 * POLL_AT_LEAST_S
    return round(min(max(pace_s, POLL_AT_LEAST_S), POLL_AT_MOST_S))


def _links(job: Job) -> JobLinks:
    path = f"/v1/jobs/{ids.to_public('job', job.id)}"
    return JobLinks.model_validate(
        {"self": path}
        | {name: f"{path}/{name}" for name in JobLinks.model_fields if name != "self"}
    )
