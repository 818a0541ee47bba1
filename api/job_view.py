"""From the rows of a job to the shape that clients see."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from api.schemas.jobs import JobLinks, JobShape, StartsFrom
from api.status_reason import status_reason
from domain import budgets, ids
from domain.db import utc_now
from domain.job_reading import Seen, Specs, Tag
from domain.job_status import TERMINAL, Status, allowed_actions
from domain.pace import Ceiling
from domain.tables import Attempt, Job, Json

_BELOW = tuple(name for name in JobLinks.model_fields if name != "self")
_PRIORITIES = ("high", "normal", "low")
POLL_AT_LEAST_S, POLL_AT_MOST_S = 1, 30


def whole(seen: Seen) -> JobShape:
    """The job with its specs."""
    specs = {"spec": seen.job.asked_spec, "resolved_spec": seen.job.spec}
    return JobShape.model_validate({**_fields(seen, now=utc_now()), **specs})


def whole_json(seen: Seen, specs: Specs) -> str:
    """`whole` as JSON, of a job without specs loaded and of specs that are JSON already."""
    shown = summary_json(seen).removesuffix("}")
    return f'{shown},"spec":{specs.asked},"resolved_spec":{specs.resolved}}}'


def summary_json(seen: Seen) -> str:
    """A `JobSummary` as JSON, for lists and polls. What is written is not checked against the model
    again, as that takes as long as writing it; a test holds both together."""
    return to_json(_fields(seen, now=utc_now()), inf_nan_mode="null").decode()


def tag(seen: Seen) -> str:
    """The job's `ETag`."""
    job, queued = seen.job, seen.queued
    place, reason = (None, None) if queued is None else (queued.place, queued.reason)
    return tag_text(Tag(job.status, job.revision, job.version, place, reason))


def tag_text(tag: Tag) -> str:
    """A weak tag of the job as it is: heartbeats and clock-driven figures change without it.

    Clients need not look inside. The first part is what `If-Match` goes by.
    """
    queued = "" if tag.place is None else f"-p{tag.place}-{tag.reason}"
    return f'W/"r{tag.revision}-v{tag.version}{queued}"'


def poll_after_s(job: Job) -> int | None:
    """About once a step is enough: nothing else changes faster."""
    if Status(job.status) in TERMINAL:
        return None
    pace_s = (job.latest_metrics or {}).get("seconds") or 2 * POLL_AT_LEAST_S
    return round(min(max(pace_s, POLL_AT_LEAST_S), POLL_AT_MOST_S))


def _fields(seen: Seen, *, now: datetime) -> dict[str, Any]:
    job, attempt = seen.job, seen.attempt
    usage = budgets.usage(job, attempt, now=now)
    public_id = ids.to_public("job", job.id)
    path = f"/v1/jobs/{public_id}"
    return {
        "id": public_id,
        "object": "job",
        "name": job.name,
        "project_id": ids.to_public("prj", job.project_id),
        "base_model": job.base_model,
        "method": job.method,
        "rewards": job.rewards,
        "priority": _PRIORITIES[job.priority],
        "status": job.status,
        "phase": job.phase,
        "status_reason": status_reason(seen),
        "terminal": Status(job.status) in TERMINAL,
        "allowed_actions": _actions(seen),
        "stop_reason": job.stop_reason,
        "attempt": _attempt(attempt),
        "code_version": None if attempt is None else attempt.code_version,
        "queue": _queue(seen),
        "pause": _pause(job),
        "progress": _progress(job, usage, now=now),
        "budget": _budget(job, usage),
        "latest_metrics": job.latest_metrics,
        "evaluation": _evaluation(job),
        "best_checkpoint": _best(seen),
        "adapter": _adapter(job),
        "sheet": _sheet(job, path),
        "error": job.error,
        "spec_hash": job.spec_hash,
        "template": job.template,
        "parent_job_id": _public_job(job.parent_job_id),
        "parent_kind": job.parent_kind,
        "starts_from": _starts_from(job),
        "notify": job.notify,
        "labels": job.labels,
        "created_by": _maker(seen),
        "trace_id": job.trace_id,
        "created_at": job.created_at,
        "queued_at": job.queued_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "updated_at": job.updated_at,
        "deleted_at": job.deleted_at,
        "version": job.version,
        "poll_after_s": poll_after_s(job),
        "links": _links(path),
    }


def _actions(seen: Seen) -> list[str]:
    """What the status allows, without what this very job has nothing for."""
    job = seen.job
    impossible = set()
    if seen.best is None and not (job.error or {}).get("retryable"):
        impossible.add("retry")
    if seen.best is None and job.adapter_id is None:
        impossible.add("extend")
    if job.deleted_at is not None:
        impossible |= {"retry", "extend", "delete"}
    return [action for action in allowed_actions(job.status) if action not in impossible]


def _attempt(attempt: Attempt | None) -> Json | None:
    if attempt is None:
        return None
    return {
        "number": attempt.number,
        "started_at": attempt.started_at,
        "hardware": attempt.hardware,
        "last_heartbeat_at": attempt.last_heartbeat_at,
    }


def _queue(seen: Seen) -> Json | None:
    queued, job = seen.queued, seen.job
    if queued is None:
        return None
    return {
        "position": queued.place,
        "reason": queued.reason,
        "eta_at": queued.eta_at,
        "expires_at": job.queue_expires_at if job.started_at is None else None,
    }


def _pause(job: Job) -> Json | None:
    if job.status not in {Status.PAUSING, Status.PAUSED} or job.pause_reason is None:
        return None
    return {
        "reason": job.pause_reason,
        "requested_at": job.pause_requested_at,
        "expires_at": job.paused_expires_at if job.status == Status.PAUSED else None,
    }


def _best(seen: Seen) -> Json | None:
    if seen.best is None:
        return None
    checkpoint_id, step = seen.best
    return {"id": ids.to_public("ck", checkpoint_id), "step": step}


def _starts_from(job: Job) -> Json | None:
    if job.init_from is None:
        return None
    return {name: job.init_from[name] for name in StartsFrom.model_fields}


def _public_job(job_id: UUID | None) -> str | None:
    return None if job_id is None else ids.to_public("job", job_id)


def _progress(job: Job, usage: budgets.Usage, *, now: datetime) -> Json:
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
    return {
        "fraction": min(job.step / job.steps_total, 1.0),
        "step": job.step,
        "steps_total": job.steps_total,
        "eta_at": eta_at,
        "seconds_per_step": pace_s,
    }


def _later(now: datetime, seconds: float) -> datetime | None:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        # Millions of years: there is no date for it.
        return None


def _budget(job: Job, usage: budgets.Usage) -> Json:
    cost, ceilings = job.budget["max_cost"], usage.ceilings
    return {
        "steps": _spending(ceilings["max_steps"]),
        "reward_queries": _spending(ceilings["max_reward_queries"]),
        "evaluation_queries": job.evaluation_queries,
        "gpu_seconds": _spending(ceilings["max_gpu_seconds"]),
        "wall_clock_s": _spending(ceilings["max_wall_clock_s"]),
        "cost": {
            "limit": None if cost is None else str(cost["amount"]),
            "used": str(usage.cost),
            "currency": usage.currency,
            "fraction": ceilings["max_cost"].fraction,
        },
        "deadline_s": _spending(ceilings["deadline_at"]),
        "queue_s": _spending(ceilings["max_queue_s"]),
        "deadline_at": job.deadline_at,
        "next_ceiling": usage.next_ceiling,
        "on_exhausted": job.budget["on_exhausted"],
    }


def _spending(ceiling: Ceiling) -> Json:
    fraction = ceiling.fraction
    return {
        "limit": ceiling.limit,
        "used": round(ceiling.used, 3),
        "fraction": None if fraction is None else round(fraction, 4),
    }


def _evaluation(job: Job) -> Json | None:
    line = job.evaluation
    if line is None:
        return None
    difference, best = line["difference"] or {}, job.best_evaluation or {}
    return {
        "kind": line["kind"],
        "step": line["step"],
        "adapter_step": line.get("adapter_step"),
        "baseline_heldout_reward": line["baseline_heldout_reward"],
        "heldout_reward": line["heldout_reward"],
        "best_heldout_reward": best.get("heldout_reward"),
        "best_step": best.get("step"),
        "delta": difference.get("delta"),
        "delta_ci95": difference.get("delta_ci95"),
        "verdict": line["verdict"],
        "pairs_needed": line.get("pairs_needed"),
        "guards": line["guards"],
    }


def _adapter(job: Job) -> Json | None:
    if job.adapter_id is None:
        return None
    public_id = ids.to_public("ad", job.adapter_id)
    url = f"/v1/adapters/{public_id}"
    return {"id": public_id, "url": url, "files_url": f"{url}/files"}


def _sheet(job: Job, path: str) -> Json | None:
    if job.sheet is None:
        return None
    return {
        "size_bytes": job.sheet["size_bytes"],
        "sha256": job.sheet["sha256"],
        "url": f"{path}/sheet",
    }


def _maker(seen: Seen) -> Json | None:
    job, name = seen.job, seen.maker or ""
    if job.created_by_key_id is not None:
        public_id = ids.to_public("key", job.created_by_key_id)
        return {"type": "api_key", "id": public_id, "name": name}
    if job.created_by_member_id is not None:
        public_id = ids.to_public("mem", job.created_by_member_id)
        return {"type": "member", "id": public_id, "name": name}
    return None


def _links(path: str) -> Json:
    return {"self": path, **{name: f"{path}/{name}" for name in _BELOW}}
