"""What a worker may do with a job: claim it, keep the lease alive, hand it back, end it.

The attempt's number is the fencing token. A worker whose lease was reaped, whatever it still believes,
gets `StaleAttempt` and has changed nothing. Only the database's clock decides about leases.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from domain import budgets, db, events, jobs, prompt_sets, queue, uploads
from domain.errors import InvalidTransition
from domain.ids import to_public
from domain.job_status import HELD, Status, allowed_actions
from domain.settings import get_settings
from domain.tables import Attempt, Checkpoint, Job, Json
from domain.uploads import ImageRef
from vader_core.spec import JobSpec
from vader_core.strict import Strict

MAX_PREEMPTIONS = 20

_END: dict[str, Any] = {
    "owner": None,
    "lease_until": None,
    "finished_at": func.clock_timestamp(),
}

Outcome = Literal["succeeded", "failed", "cancelled", "lost", "released"]


class JobError(Strict):
    """Why an attempt or a job failed. The domain fills in `attempt` and `last_checkpoint`."""

    code: str
    message: str
    hint: str = ""
    fault: Literal["user", "platform"] = "platform"
    retryable: bool = True
    step: int = 0
    attempt: int = 0
    last_checkpoint: str | None = None


@dataclass(frozen=True)
class CheckpointRef:
    """A stored checkpoint: `files` are path (below the key `prefix`), size_bytes and sha256."""

    step: int
    attempt: int
    prefix: str
    files: list[Json]


@dataclass(frozen=True)
class Claim:
    """A job that this worker now holds. `spec` has its prompts inline.

    `spent_*` are the seconds of all earlier attempts; `cost_gpu_seconds` are those that `max_cost` buys,
    None without such a ceiling. `checkpoints` are newest first, `images` the prompts' first images.
    """

    job_id: UUID
    project_id: UUID
    attempt: int
    max_attempts: int
    spec: JobSpec
    spec_hash: str
    trace_id: str
    created_at: datetime
    spent_gpu_seconds: float
    spent_wall_clock_s: float
    cost_gpu_seconds: float | None
    checkpoints: list[CheckpointRef]
    images: list[ImageRef]


@dataclass(frozen=True)
class Heartbeat:
    """What the holder of a lease is told."""

    cancel_requested: bool
    keep_adapter: bool


def claim(session: Session, *, worker: str, hardware: str) -> Claim | None:
    """The job that should run next, now held by `worker`; None when none waits.

    Priority comes first, then the project with the fewest running jobs, then age. Rows that another
    worker is claiming this moment are passed over.
    """
    other = aliased(Job)
    running = (
        select(func.count())
        .where(other.project_id == Job.project_id, other.status.in_(HELD))
        .scalar_subquery()
    )
    waiting = (
        select(Job)
        .where(Job.status == Status.QUEUED)
        .order_by(Job.priority, running, Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
    )
    job = session.scalar(waiting)
    if job is None:
        return None
    try:
        spec = JobSpec.model_validate(job.spec)
    except ValidationError as wrong:
        # Raised, this would stand before every job behind it, again and again.
        fail_queued(session, job, _spec_unreadable(wrong))
        return claim(session, worker=worker, hardware=hardware)
    job.attempt += 1
    job = jobs.move(
        session,
        job.id,
        to=Status.STARTING,
        data={"hardware": hardware},
        owner=worker,
        lease_until=_lease_end(),
        started_at=func.coalesce(Job.started_at, func.clock_timestamp()),
    )
    session.execute(
        insert(Attempt).values(job_id=job.id, number=job.attempt, worker=worker, hardware=hardware)
    )
    return _claim(session, job, spec)


def heartbeat(session: Session, *, job_id: UUID, attempt: int) -> Heartbeat:
    """Prolongs the lease. Raises `StaleAttempt` when it is lost: then stop the training at once."""
    prolonged = (
        update(Job)
        .where(Job.id == job_id, jobs.held_by(attempt))
        .values(lease_until=_lease_end())
        .returning(Job.cancel_requested_at.is_not(None), Job.keep_adapter)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(prolonged).one_or_none()
    if row is None:
        raise jobs.stale(job_id, attempt)
    session.execute(
        update(Attempt)
        .where(Attempt.job_id == job_id, Attempt.number == attempt)
        .values(last_heartbeat_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    return Heartbeat(*row)


def cancel_asked(session: Session, *, job_id: UUID, attempt: int) -> Heartbeat:
    """What `heartbeat` would say, without prolonging the lease. Raises `StaleAttempt`."""
    query = select(Job.cancel_requested_at.is_not(None), Job.keep_adapter).where(
        Job.id == job_id, jobs.held_by(attempt)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        raise jobs.stale(job_id, attempt)
    return Heartbeat(*row)


def finish(
    session: Session,
    *,
    job_id: UUID,
    attempt: int,
    to: Status,
    stop_reason: str | None = None,
    error: JobError | None = None,
) -> Job:
    """Ends the job: succeeded (from finalizing), failed, or cancelled (from cancelling).

    Raises `StaleAttempt`, and `InvalidTransition` when somebody else was first: a job that is being
    cancelled can only end cancelled.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    if to is Status.CANCELLED:
        return _cancel(session, job, outcome="cancelled")
    if error is not None:
        return _fail(session, job, _completed(session, job, error), outcome="failed")
    if to is not Status.SUCCEEDED or job.adapter_id is None:
        raise InvalidTransition(
            "A job ends succeeded with its adapter stored, failed with an error, or cancelled.",
            current_status=job.status,
            allowed_actions=allowed_actions(job.status),
        )
    _end_attempt(session, job, outcome="succeeded")
    return jobs.move(session, job.id, to=to, stop_reason=stop_reason, **_END)


def fail_attempt(session: Session, *, job_id: UUID, attempt: int, error: JobError) -> Job:
    """Ends the attempt with `error`: the job is queued again where another attempt can help.

    It fails when the error is not retryable, when the attempts are used up, and when the attempt before
    failed the same way at the same step. A job that is being cancelled is cancelled. Raises
    `StaleAttempt`.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    return _attempt_failed(session, job, error, outcome="failed")


def release(session: Session, *, job_id: UUID, attempt: int, reason: str) -> Job:
    """Hands the job back to the queue without charging the attempt, as when a worker is drained.

    A job that is being cancelled is cancelled, and one that was handed back too often fails. Raises
    `StaleAttempt`.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    if job.status == Status.CANCELLING:
        return _cancel(session, job, outcome="cancelled")
    if job.preemptions >= MAX_PREEMPTIONS:
        error = JobError(
            code="preempted_too_often",
            message=f"{job.preemptions + 1} workers were stopped while they ran this job.",
            hint="Submit it again; with more frequent checkpoints less is lost.",
        )
        return _fail(session, job, _completed(session, job, error), outcome="released")
    job.preemptions += 1
    return _requeue(session, job, message=reason, outcome="released")


def lose(session: Session, job: Job) -> Job:
    """Ends the attempt of a worker that fell silent. `job` is locked and its lease has run out."""
    if job.status == Status.CANCELLING:
        return _cancel(session, job, outcome="lost")
    error = JobError(
        code="worker_lost",
        message="The worker fell silent and its lease ran out.",
        hint="Submit the job again; if it repeats, look at the workers' logs.",
    )
    return _attempt_failed(session, job, error, outcome="lost")


def fail_queued(session: Session, job: Job, error: JobError) -> Job:
    """Fails a job that no attempt holds. `job` is locked."""
    return _fail(session, job, _completed(session, job, error), outcome=None)


def _spec_unreadable(wrong: ValidationError) -> JobError:
    places = ["/" + "/".join(str(part) for part in fault["loc"]) for fault in wrong.errors()]
    return JobError(
        code="spec_unusable",
        message=f"This version of the service cannot read the job's spec: {', '.join(places)}.",
        hint="Nothing was spent. Submit the job again.",
        retryable=False,
    )


def _claim(session: Session, job: Job, spec: JobSpec) -> Claim:
    if spec.prompts.prompt_set is not None:
        prompts = prompt_sets.load(
            session, project_id=job.project_id, reference=spec.prompts.prompt_set
        )
        inline = spec.prompts.model_copy(update={"prompt_set": None, "inline": prompts})
        spec = spec.model_copy(update={"prompts": inline})
    return Claim(
        job_id=job.id,
        project_id=job.project_id,
        attempt=job.attempt,
        max_attempts=get_settings().max_attempts,
        spec=spec,
        spec_hash=job.spec_hash,
        trace_id=job.trace_id,
        created_at=job.created_at,
        spent_gpu_seconds=job.gpu_seconds,
        spent_wall_clock_s=job.wall_clock_s,
        cost_gpu_seconds=budgets.cost_gpu_seconds(spec.budget),
        checkpoints=[
            CheckpointRef(row.step, row.attempt, row.prefix, row.files)
            for row in session.scalars(_kept_checkpoints(job))
        ],
        images=uploads.first_images(session, project_id=job.project_id, spec=spec),
    )


def _kept_checkpoints(job: Job) -> Select[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.expired_at.is_(None))
    return query.order_by(Checkpoint.step.desc())


def _attempt_failed(session: Session, job: Job, error: JobError, *, outcome: Outcome) -> Job:
    if job.status == Status.CANCELLING:
        return _cancel(session, job, outcome=outcome)
    error = _completed(session, job, error)
    charged = job.attempt - job.preemptions
    again = error.retryable and charged < get_settings().max_attempts
    if not again or _failed_so_before(session, job, error):
        return _fail(session, job, error, outcome=outcome)
    events.append(
        session,
        job_id=job.id,
        type="job.attempt_failed",
        message=error.message,
        data={"error": error.model_dump(mode="json")},
    )
    return _requeue(session, job, message="", outcome=outcome, error=error)


def _failed_so_before(session: Session, job: Job, error: JobError) -> bool:
    """Whether the attempt before this one told of the same error at the same step: it is no accident."""
    before = session.get(Attempt, (job.id, job.attempt - 1))
    known = None if before is None or before.outcome != "failed" else before.error
    return known is not None and (known["code"], known["step"]) == (error.code, error.step)


def _completed(session: Session, job: Job, error: JobError) -> JobError:
    newest = session.scalars(_kept_checkpoints(job).limit(1)).one_or_none()
    checkpoint = None if newest is None else to_public("ck", newest.id)
    return error.model_copy(update={"attempt": job.attempt, "last_checkpoint": checkpoint})


def _fail(session: Session, job: Job, error: JobError, *, outcome: Outcome | None) -> Job:
    told = error.model_dump(mode="json")
    if outcome is not None:
        _end_attempt(session, job, outcome=outcome, error=told)
    return jobs.move(
        session,
        job.id,
        to=Status.FAILED,
        message=error.message,
        stop_reason="error",
        error=told,
        **_END,
    )


def _cancel(session: Session, job: Job, *, outcome: Outcome) -> Job:
    _end_attempt(session, job, outcome=outcome)
    return jobs.cancelled(session, job)


def _requeue(
    session: Session, job: Job, *, message: str, outcome: Outcome, error: JobError | None = None
) -> Job:
    told = None if error is None else error.model_dump(mode="json")
    _end_attempt(session, job, outcome=outcome, error=told)
    db.after_commit(session, partial(queue.ring, job.id))
    return jobs.move(
        session,
        job.id,
        to=Status.QUEUED,
        message=message,
        owner=None,
        lease_until=None,
        queued_at=func.clock_timestamp(),
        hinted_at=func.clock_timestamp(),
    )


def _end_attempt(
    session: Session, job: Job, *, outcome: Outcome, error: Json | None = None
) -> None:
    """Closes the attempt's row and adds its seconds to the job's."""
    seconds = func.extract("epoch", Attempt.ended_at - Attempt.started_at)
    ended = (
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt)
        .values(ended_at=func.clock_timestamp(), outcome=outcome, error=error)
        .returning(seconds)
        .execution_options(synchronize_session=False)
    )
    job.wall_clock_s += float(session.scalars(ended).one())


def _lease_end() -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=get_settings().lease_s)
