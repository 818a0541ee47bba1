"""The life of a job: made, found, moved from status to status, cancelled.

`move` is the only way to change a status: one UPDATE that names the states it may come from, and an
event in the same transaction. What a worker does with the lease it holds is in `domain.claims`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, tuple_, update
from sqlalchemy.orm import Session, defer

from domain import budgets, db, events, queue
from domain.adapters import publish_newest_checkpoint
from domain.errors import InvalidTransition, NotFound, StaleAttempt, ValidationFailed
from domain.ids import new_id, to_public
from domain.job_status import TERMINAL, Status, allowed_actions, sources
from domain.tables import Attempt, Job, Json
from vader_core.spec import JobSpec, spec_hash

_PRIORITIES = {"high": 0, "normal": 1, "low": 2}
_PHASES = {Status.RUNNING: "loading", Status.FINALIZING: "exporting"}
_TOLD: dict[Status, tuple[str, str]] = {
    Status.QUEUED: ("job.queued", "Waits for a worker."),
    Status.STARTING: ("job.started", "A worker has taken the job."),
    Status.RUNNING: ("job.phase_changed", "The trainer is up."),
    Status.FINALIZING: ("job.phase_changed", "Training is over; the adapter is being stored."),
    Status.CANCELLING: ("job.cancel_requested", "Asked to cancel."),
    Status.SUCCEEDED: ("job.succeeded", "The adapter is ready."),
    Status.FAILED: ("job.failed", "The job failed."),
    Status.CANCELLED: ("job.cancelled", "The job is cancelled."),
}
"""Event type and message of every status a job moves to."""
# A spec can hold thousands of prompts.
WITHOUT_SPECS = (defer(Job.spec, raiseload=True), defer(Job.asked_spec, raiseload=True))


def create(
    session: Session,
    *,
    project_id: UUID,
    spec: JobSpec,
    asked_spec: Json,
    created_by_key_id: UUID | None,
    trace_id: str,
) -> Job:
    """A queued job for the resolved `spec`; a worker is told after the commit.

    `asked_spec` is what the client wrote. Raises `ValidationFailed` for a budget that cannot hold.
    """
    wrong = budgets.faults(spec.budget, now=db.utc_now())
    if wrong:
        raise ValidationFailed(wrong, what="job spec")
    queue_s = spec.budget.max_queue_s
    resolved = spec.model_dump(mode="json")
    job = Job(
        id=new_id(),
        project_id=project_id,
        created_by_key_id=created_by_key_id,
        name=spec.name,
        labels=dict(spec.labels),
        priority=_PRIORITIES[spec.priority],
        base_model=spec.base_model,
        method=spec.method.type,
        rewards=[term.reward for term in spec.rewards],
        asked_spec=asked_spec,
        spec=resolved,
        budget=resolved["budget"],
        spec_hash=spec_hash(spec),
        trace_id=trace_id,
        status=Status.QUEUED.value,
        phase=Status.QUEUED.value,
        steps_total=spec.budget.max_steps,
        deadline_at=spec.budget.deadline_at,
        queue_expires_at=None if queue_s is None else _now_plus(queue_s),
    )
    session.add(job)
    # The events refer to the row.
    session.flush()
    events.append(session, job_id=job.id, type="job.created", message="The job is accepted.")
    kind, message = _TOLD[Status.QUEUED]
    events.append(session, job_id=job.id, type=kind, message=message, data=_told(job))
    db.after_commit(session, partial(queue.ring, job.id))
    session.refresh(job)
    return job


def get(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """The job. Raises `NotFound`, also for another project's."""
    return _owned(session.get(Job, job_id), project_id, job_id)


def glimpse(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """As `get`, but without the specs, for those who look often: reading them raises."""
    return _owned(session.get(Job, job_id, options=WITHOUT_SPECS), project_id, job_id)


def _owned(job: Job | None, project_id: UUID, job_id: UUID) -> Job:
    if job is None or job.project_id != project_id:
        raise NotFound(f"There is no job {to_public('job', job_id)!r} in this project.")
    return job


def move(
    session: Session,
    job_id: UUID,
    *,
    to: Status,
    attempt: int | None = None,
    message: str = "",
    data: Json | None = None,
    **changes: Any,
) -> Job:
    """Moves the job to `to`, with other columns' `changes` and the event of the new status.

    With `attempt`, only if that attempt holds the lease. Raises `StaleAttempt`, `InvalidTransition` or
    `NotFound`, and then nothing has changed.
    """
    fence = [] if attempt is None else [held_by(attempt)]
    values = {
        "status": to.value,
        "phase": _PHASES.get(to, to.value),
        "version": Job.version + 1,
        "updated_at": func.clock_timestamp(),
        **changes,
    }
    moved = (
        update(Job)
        .where(Job.id == job_id, Job.status.in_(sources(to)), *fence)
        .values(values)
        .returning(Job)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    job: Job | None = session.scalar(moved)
    if job is None:
        raise _refusal(session, job_id, to=to, attempt=attempt)
    kind, usual = _TOLD[to]
    if to is Status.STARTING and job.attempt > 1:
        kind, usual = "job.attempt_restarted", f"Attempt {job.attempt} has begun."
    told = {**_told(job), **(data or {})}
    events.append(session, job_id=job_id, type=kind, message=message or usual, data=told)
    return job


def held(session: Session, *, job_id: UUID, attempt: int) -> Job:
    """The job, locked until the transaction ends, for a write of the attempt that holds its lease.

    Without its specs: progress is written every second, and a spec may hold thousands of prompts.
    Raises `StaleAttempt` when the attempt lost it.
    """
    query = select(Job).where(Job.id == job_id, held_by(attempt)).with_for_update()
    query = query.options(*WITHOUT_SPECS).execution_options(populate_existing=True)
    job = session.scalar(query)
    if job is None:
        raise stale(job_id, attempt)
    return job


def held_by(attempt: int) -> ColumnElement[bool]:
    """Whether the attempt holds the job's lease."""
    # A reaped job keeps its number until the next claim, so the number alone is not enough.
    return and_(Job.attempt == attempt, Job.lease_until.is_not(None))


def stale(job_id: UUID, attempt: int) -> StaleAttempt:
    """The refusal of an attempt that lost the job."""
    return StaleAttempt(f"Attempt {attempt} no longer holds job {to_public('job', job_id)!r}.")


def queue_position(session: Session, job: Job) -> int | None:
    """How many queued jobs come before this one by priority and age, plus one; None if it is not queued.

    Fair share between projects may let a later one go first.
    """
    if job.status != Status.QUEUED:
        return None
    place = tuple_(Job.priority, Job.created_at, Job.id)
    before = select(func.count()).where(
        Job.status == Status.QUEUED, place < tuple_(job.priority, job.created_at, job.id)
    )
    return session.scalars(before).one() + 1


def request_cancel(
    session: Session, *, project_id: UUID, job_id: UUID, keep_adapter: bool = True
) -> Job:
    """Cancels a queued job at once and asks the worker of a held one; asking again changes nothing.

    With `keep_adapter`, what the newest checkpoint holds becomes the job's adapter. Raises `NotFound`,
    and `InvalidTransition` for a job that ended otherwise.
    """
    get(session, project_id=project_id, job_id=job_id)
    query = select(Job).where(Job.id == job_id).with_for_update()
    job = session.scalars(query.execution_options(populate_existing=True)).one()
    if job.status in {Status.CANCELLING, Status.CANCELLED}:
        return job
    was_queued = job.status == Status.QUEUED
    job = move(
        session,
        job_id,
        to=Status.CANCELLING,
        cancel_requested_at=func.clock_timestamp(),
        keep_adapter=keep_adapter,
    )
    return cancelled(session, job) if was_queued else job


def cancelled(session: Session, job: Job) -> Job:
    """Ends a job that is being cancelled; its newest checkpoint becomes its adapter if that is wanted."""
    if job.keep_adapter and job.adapter_id is None:
        publish_newest_checkpoint(session, job)
    return move(
        session,
        job.id,
        to=Status.CANCELLED,
        stop_reason="cancelled",
        owner=None,
        lease_until=None,
        finished_at=func.clock_timestamp(),
    )


def current_attempts(session: Session, jobs: Collection[Job]) -> dict[UUID, Attempt]:
    """The newest attempt of each of the jobs that have one."""
    wanted = [(job.id, job.attempt) for job in jobs]
    query = select(Attempt).where(tuple_(Attempt.job_id, Attempt.number).in_(wanted))
    return {attempt.job_id: attempt for attempt in session.scalars(query)}


def _told(job: Job) -> Json:
    told: Json = {"status": job.status, "phase": job.phase}
    if job.status in TERMINAL:
        adapter = None if job.adapter_id is None else to_public("ad", job.adapter_id)
        verdict = (job.evaluation or {}).get("verdict")
        told |= {"stop_reason": job.stop_reason, "adapter_id": adapter, "verdict": verdict}
        told |= {"error": job.error}
    return told


def _refusal(session: Session, job_id: UUID, *, to: Status, attempt: int | None) -> Exception:
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        return NotFound(f"There is no job {to_public('job', job_id)!r}.")
    if attempt is not None and (job.attempt != attempt or job.lease_until is None):
        return stale(job_id, attempt)
    actions = allowed_actions(job.status)
    detail = f"The job is {job.status!r}: it cannot become {to.value!r}."
    return InvalidTransition(detail, current_status=job.status, allowed_actions=actions)


def _now_plus(seconds: float) -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=seconds)
