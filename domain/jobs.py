"""The life of a job: made, found, moved from status to status, cancelled.

`move` is the only way to change a status: one UPDATE that names the states it may come from, and an
event in the same transaction. What a worker does with the lease it holds is in `domain.claims`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session, defer

from domain import adapter_registry, budgets, capacity, db, events, init_from, queue
from domain.adapters import publish_newest_checkpoint
from domain.callers import Origin
from domain.capacity import Need
from domain.errors import InvalidTransition, NotFound, StaleAttempt, ValidationFailed
from domain.ids import new_id, to_public
from domain.job_status import TERMINAL, Status, allowed_actions, sources
from domain.tables import Job, Json
from vader_core.spec import JobSpec, spec_hash

PRIORITIES = {"high": 0, "normal": 1, "low": 2}
_PHASES = {Status.RUNNING: "loading", Status.FINALIZING: "exporting"}
_TOLD: dict[Status, tuple[str, str]] = {
    Status.QUEUED: ("job.queued", "Waits for a worker."),
    Status.STARTING: ("job.started", "A worker has taken the job."),
    Status.RUNNING: ("job.phase_changed", "The trainer is up."),
    Status.PAUSING: ("job.pausing", "Asked to pause; a checkpoint is being written."),
    Status.PAUSED: ("job.paused", "The job is paused."),
    Status.FINALIZING: ("job.phase_changed", "Training is over; the adapter is being stored."),
    Status.CANCELLING: ("job.cancel_requested", "Asked to cancel."),
    Status.SUCCEEDED: ("job.succeeded", "The adapter is ready."),
    Status.FAILED: ("job.failed", "The job failed."),
    Status.CANCELLED: ("job.cancelled", "The job is cancelled."),
}
"""Event type and message of every status a job moves to."""
# A spec can hold thousands of prompts.
WITHOUT_SPECS = (defer(Job.spec, raiseload=True), defer(Job.asked_spec, raiseload=True))


@dataclass(frozen=True)
class Ties:
    """What a job hangs on besides its spec: the columns of the table with these names."""

    template: str | None = None
    notify: Json | None = None
    parent_job_id: UUID | None = None
    parent_kind: Literal["retry", "extend"] | None = None
    init_from: Json | None = None


UNTIED = Ties()


def create(
    session: Session,
    *,
    spec: JobSpec,
    asked_spec: Json,
    origin: Origin,
    ties: Ties = UNTIED,
    need: Need = capacity.UNKNOWN,
) -> Job:
    """A queued job for the resolved `spec`; a worker is told after the commit.

    `asked_spec` is what the client wrote, `need` the memory by which workers choose. Raises `ValidationFailed`
    for a budget that cannot hold.
    """
    wrong = budgets.faults(spec.budget, now=db.utc_now())
    if wrong:
        raise ValidationFailed(wrong, what="job spec")
    queue_s = spec.budget.max_queue_s
    resolved = spec.model_dump(mode="json")
    job = Job(
        id=new_id(),
        project_id=origin.project_id,
        created_by_key_id=origin.key_id,
        created_by_member_id=origin.member_id,
        name=spec.name,
        labels=dict(spec.labels),
        priority=PRIORITIES[spec.priority],
        base_model=spec.base_model,
        method=spec.method.type,
        rewards=[term.reward for term in spec.rewards],
        asked_spec=asked_spec,
        spec=resolved,
        budget=resolved["budget"],
        spec_hash=spec_hash(spec),
        template=ties.template,
        notify=ties.notify,
        parent_job_id=ties.parent_job_id,
        parent_kind=ties.parent_kind,
        init_from=ties.init_from,
        **init_from.beginnings(ties.init_from),
        least_gib=need.least,
        peak_gib=need.peak,
        trace_id=origin.trace_id,
        status=Status.QUEUED.value,
        phase=Status.QUEUED.value,
        steps_total=spec.budget.max_steps,
        deadline_at=spec.budget.deadline_at,
        queue_expires_at=None if queue_s is None else _now_plus(queue_s),
        # The beginning of the transaction: not after `hinted_at`, so that nobody rings for it again.
        run_after=func.now(),
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


def locked(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """As `glimpse`, and nobody else changes the job until the transaction ends."""
    query = select(Job).where(Job.id == job_id, Job.project_id == project_id).with_for_update()
    query = query.options(*WITHOUT_SPECS).execution_options(populate_existing=True)
    return _owned(session.scalar(query), project_id, job_id)


def _owned(job: Job | None, project_id: UUID, job_id: UUID) -> Job:
    if job is None or job.project_id != project_id:
        raise NotFound(f"There is no job {to_public('job', job_id)!r} in this project.")
    return job


def move(  # noqa: PLR0913 (the event may be told in other words)
    session: Session,
    job_id: UUID,
    *,
    to: Status,
    attempt: int | None = None,
    event: str | None = None,
    message: str = "",
    data: Json | None = None,
    **changes: Any,
) -> Job:
    """Moves the job to `to`, with other columns' `changes` and the event of the new status, or one of
    the type `event`.

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
    events.append(session, job_id=job_id, type=event or kind, message=message or usual, data=told)
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


def request_cancel(
    session: Session, *, project_id: UUID, job_id: UUID, keep_adapter: bool = True
) -> Job:
    """Cancels a queued or paused job at once and asks the worker of a held one; asking again changes nothing.

    With `keep_adapter`, what the newest checkpoint holds becomes the job's adapter. Raises `NotFound`,
    and `InvalidTransition` for a job that ended otherwise.
    """
    job = locked(session, project_id=project_id, job_id=job_id)
    if job.status in {Status.CANCELLING, Status.CANCELLED}:
        return job
    nobody_holds_it = job.status in {Status.QUEUED, Status.PAUSED}
    job = move(
        session,
        job_id,
        to=Status.CANCELLING,
        cancel_requested_at=func.clock_timestamp(),
        keep_adapter=keep_adapter,
    )
    return cancelled(session, job) if nobody_holds_it else job


def cancelled(session: Session, job: Job) -> Job:
    """Ends a job that is being cancelled; its newest checkpoint becomes its adapter if that is wanted."""
    if not job.keep_adapter:
        adapter_registry.withdraw(session, job)
    elif job.adapter_id is None:
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
