"""Pausing and resuming jobs, and what becomes of those that nobody resumes.

A job that waits is paused at once. One that an attempt holds is asked to: its worker hears of it by its
heartbeat, lets the trainer write a checkpoint and calls `claims.pause`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import Session

from domain import attempt_ends, budgets, claims, db, jobs, queue
from domain.adapters import publish_newest_checkpoint
from domain.errors import CeilingReached, InvalidTransition
from domain.job_errors import JobError
from domain.job_status import Status, allowed_actions
from domain.settings import get_settings
from domain.tables import Job, Json

REQUESTED, RAISED = "requested", "budget_raised"
_NOT_PAUSED: dict[str, Any] = {
    "pause_requested_at": None,
    "pause_reason": None,
    "paused_expires_at": None,
}


def request(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """Pauses a queued job at once and asks the worker of a held one; asking again changes nothing.

    Raises `NotFound`, and `InvalidTransition` where pausing is not among the allowed actions.
    """
    job = jobs.locked(session, project_id=project_id, job_id=job_id)
    if job.status in {Status.PAUSING, Status.PAUSED}:
        return job
    require_action(job, "pause", "Pausing works in 'queued', 'starting' and 'running'.")
    asked: dict[str, Any] = {
        "pause_requested_at": func.clock_timestamp(),
        "pause_reason": REQUESTED,
    }
    if job.status != Status.QUEUED:
        return jobs.move(session, job_id, to=Status.PAUSING, **asked)
    keep = timedelta(seconds=get_settings().paused_keep_s)
    expires_at = func.clock_timestamp() + keep
    told: Json = {"reason": REQUESTED}
    return jobs.move(
        session, job_id, to=Status.PAUSED, data=told, paused_expires_at=expires_at, **asked
    )


def resume(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """Queues a paused job again; a job that is queued already stays as it is.

    Raises `NotFound`, `InvalidTransition` for a job that is not paused, and `CeilingReached` for one
    whose budget says to pause at a ceiling that was not raised since.
    """
    job = jobs.locked(session, project_id=project_id, job_id=job_id)
    if job.status == Status.QUEUED:
        return job
    require_action(job, "resume", "Only a paused job can be resumed.")
    _require_room(job)
    queue_s = job.budget["max_queue_s"]
    now = func.clock_timestamp()
    db.after_commit(session, partial(queue.ring, job_id))
    return jobs.move(
        session,
        job_id,
        to=Status.QUEUED,
        event="job.resumed",
        message="Resumed: the job waits for a worker.",
        queued_at=now,
        hinted_at=now,
        run_after=func.now(),
        queue_expires_at=None if queue_s is None else now + timedelta(seconds=queue_s),
        **_NOT_PAUSED,
    )


def require_action(job: Job, action: str, rule: str) -> None:
    """Raises `InvalidTransition` with `rule` unless `job` allows `action` as it stands."""
    actions = allowed_actions(job.status)
    if action not in actions:
        detail = f"The job is {job.status!r}. {rule}"
        raise InvalidTransition(detail, current_status=job.status, allowed_actions=actions)


def expired() -> ColumnElement[bool]:
    """SQL: whether a job has been paused for as long as paused jobs are kept."""
    return (Job.status == Status.PAUSED) & (Job.paused_expires_at < func.clock_timestamp())


def end_expired(session: Session, job: Job) -> Job:
    """Ends a job that nobody resumed, with the adapter of its newest checkpoint. `job` is locked.

    It fails where there is no checkpoint.
    """
    ceiling = job.pause_reason if job.pause_reason in budgets.CEILINGS else "paused_expired"
    if publish_newest_checkpoint(session, job) is None:
        error = JobError(
            code="pause_expired",
            message="The job was paused until it expired, and there is no checkpoint of it.",
            hint="Submit it again.",
            fault="user",
            retryable=False,
        )
        return claims.fail_queued(session, job, error)
    message = "Paused until it expired; the newest checkpoint's adapter is kept."
    jobs.move(session, job.id, to=Status.FINALIZING, message=message)
    return jobs.move(
        session, job.id, to=Status.SUCCEEDED, stop_reason=ceiling, **attempt_ends.ENDED
    )


def _require_room(job: Job) -> None:
    if job.budget["on_exhausted"] != "pause":
        # A worker lets it finish: it evaluates and exports what it has.
        return
    reached = budgets.usage(job, None, now=db.utc_now()).reached()
    # A ceiling of time stops training before all is used: the rest is kept back for the evaluation.
    paused_at = budgets.CEILINGS.get(job.pause_reason or "")
    if paused_at is not None and job.budget[paused_at] is None:
        paused_at = None
    ceilings: list[JsonValue] = []
    ceilings += dict.fromkeys([*([paused_at] if paused_at else []), *reached])
    if ceilings:
        names = ", ".join(str(name) for name in ceilings)
        detail = (
            f"No room is left under {names}. Raise it by PATCH, or set `on_exhausted` to finish."
        )
        raise CeilingReached(detail, ceilings=ceilings)
