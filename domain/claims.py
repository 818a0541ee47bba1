"""What a worker may do with a job: claim it, keep the lease alive, hand it back, end it.

The attempt's number is the fencing token. A worker whose lease was reaped, whatever it still believes,
gets `StaleAttempt` and has changed nothing. Only the database's clock decides about leases.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from domain import attempt_ends, budgets, events, jobs, prompt_sets, quotas, uploads
from domain.errors import InvalidTransition
from domain.job_errors import JobError
from domain.job_status import HELD, Status, allowed_actions
from domain.settings import get_settings
from domain.tables import Attempt, Checkpoint, Job, Json
from domain.uploads import ImageRef
from vader_core.spec import Budget, JobSpec

MAX_PREEMPTIONS = 20


@dataclass(frozen=True)
class CheckpointRef:
    """A stored checkpoint: `files` are path (below the key `prefix`), size_bytes and sha256; `counters` what
    the job had used by then."""

    step: int
    attempt: int
    prefix: str
    files: list[Json]
    counters: Json


@dataclass(frozen=True)
class Claim:
    """A job that this worker now holds. `spec` has its prompts inline.

    `budget` is the budget as it is now, by which ceilings are kept; that of `spec` stays as the job was
    made. `spent_*` are the seconds of all earlier attempts; `cost_gpu_seconds` are those that `max_cost`
    buys, None without such a ceiling. `checkpoints` are newest first, `images` the prompts' first images.
    `init_from` is the job's column of that name.
    """

    job_id: UUID
    project_id: UUID
    attempt: int
    max_attempts: int
    spec: JobSpec
    spec_hash: str
    budget: Budget
    init_from: Json | None
    trace_id: str
    created_at: datetime
    spent_gpu_seconds: float
    spent_wall_clock_s: float
    cost_gpu_seconds: float | None
    checkpoints: list[CheckpointRef]
    images: list[ImageRef]


@dataclass(frozen=True)
class Heartbeat:
    """What the holder of a lease is told: wishes, and the budget as it is now."""

    cancel_requested: bool
    keep_adapter: bool
    pause_requested: bool
    budget: Budget
    cost_gpu_seconds: float | None


def claim(session: Session, *, worker: str, hardware: str) -> Claim | None:
    """The job that should run next, now held by `worker`; None when none waits.

    Priority comes first, then the project with the fewest running jobs, then age. Passed over are rows
    that another worker is claiming this moment, jobs that wait after a failed attempt, and those of
    projects whose quotas are used up.
    """
    without_room: set[UUID] = set()
    while (job := session.scalar(_next_waiting(without_room))) is not None:
        if not quotas.has_room(session, job.project_id):
            # Another claim took the last place of the project since this one looked.
            without_room.add(job.project_id)
            continue
        try:
            spec = JobSpec.model_validate(job.spec)
        except ValidationError as wrong:
            # Raised, this would stand before every job behind it, again and again.
            fail_queued(session, job, _spec_unreadable(wrong))
            continue
        return _start(session, job, spec, worker=worker, hardware=hardware)
    return None


def _start(session: Session, job: Job, spec: JobSpec, *, worker: str, hardware: str) -> Claim:
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
        .returning(*_WISHES)
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
    return _heard(row)


def wishes(session: Session, *, job_id: UUID, attempt: int) -> Heartbeat:
    """What `heartbeat` would say, without prolonging the lease. Raises `StaleAttempt`."""
    query = select(*_WISHES).where(Job.id == job_id, jobs.held_by(attempt))
    row = session.execute(query).one_or_none()
    if row is None:
        raise jobs.stale(job_id, attempt)
    return _heard(row)


_WISHES = (
    Job.cancel_requested_at.is_not(None),
    Job.keep_adapter,
    Job.status == Status.PAUSING,
    Job.budget,
)


def _heard(row: Row[bool, bool, bool, Json]) -> Heartbeat:
    cancel_requested, keep_adapter, pause_requested, stored = row
    budget = Budget.model_validate(stored)
    return Heartbeat(
        cancel_requested=cancel_requested,
        keep_adapter=keep_adapter,
        pause_requested=pause_requested,
        budget=budget,
        cost_gpu_seconds=budgets.cost_gpu_seconds(budget),
    )


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
        return attempt_ends.cancelled(session, job, outcome="cancelled")
    if error is not None:
        told = attempt_ends.completed(session, job, error)
        return attempt_ends.failed(session, job, told, outcome="failed")
    if to is not Status.SUCCEEDED or job.adapter_id is None:
        raise InvalidTransition(
            "A job ends succeeded with its adapter stored, failed with an error, or cancelled.",
            current_status=job.status,
            allowed_actions=allowed_actions(job.status),
        )
    attempt_ends.close(session, job, outcome="succeeded")
    return jobs.move(session, job.id, to=to, stop_reason=stop_reason, **attempt_ends.ENDED)


def fail_attempt(session: Session, *, job_id: UUID, attempt: int, error: JobError) -> Job:
    """Ends the attempt with `error`: the job is queued again where another attempt can help, after a
    pause that doubles with every failure.

    It fails when the error is not retryable, when the attempts are used up, and when the attempt before
    failed the same way at the same step. A job that is being cancelled is cancelled, and one that was
    pausing is paused. Raises `StaleAttempt`.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    return attempt_ends.attempt_failed(session, job, error, outcome="failed")


def release(session: Session, *, job_id: UUID, attempt: int, reason: str) -> Job:
    """Hands the job back to the queue without charging the attempt, as when a worker is drained.

    A job that is being cancelled is cancelled, one that was pausing is paused, and one that was handed
    back too often fails. Raises `StaleAttempt`.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    if job.status == Status.CANCELLING:
        return attempt_ends.cancelled(session, job, outcome="cancelled")
    if job.status == Status.PAUSING:
        return attempt_ends.paused(session, job, outcome="released")
    if job.preemptions >= MAX_PREEMPTIONS:
        error = JobError(
            code="preempted_too_often",
            message=f"{job.preemptions + 1} workers were stopped while they ran this job.",
            hint="Submit it again; with more frequent checkpoints less is lost.",
        )
        told = attempt_ends.completed(session, job, error)
        return attempt_ends.failed(session, job, told, outcome="released")
    job.preemptions += 1
    return attempt_ends.requeued(session, job, message=reason, outcome="released")


def pause(session: Session, *, job_id: UUID, attempt: int, reason: str) -> Job:
    """Pauses the job after its trainer has stopped; the attempt is not charged.

    `reason` is "requested", or the stop reason of the ceiling that was reached. A job that is being
    cancelled is cancelled instead. Raises `StaleAttempt`, and `InvalidTransition` for a job that is
    already being finalised.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    if job.status == Status.CANCELLING:
        return attempt_ends.cancelled(session, job, outcome="cancelled")
    if reason != "requested":
        told = {"ceiling": budgets.CEILINGS[reason], "stop_reason": reason}
        message = f"{budgets.CEILINGS[reason]} is reached."
        events.append(
            session, job_id=job.id, type="job.budget_exhausted", message=message, data=told
        )
    if job.status != Status.PAUSING:
        job = jobs.move(session, job.id, to=Status.PAUSING, attempt=attempt, pause_reason=reason)
    return attempt_ends.paused(session, job, outcome="paused", reason=reason)


def lose(session: Session, job: Job) -> Job:
    """Ends the attempt of a worker that fell silent. `job` is locked and its lease has run out."""
    if job.status == Status.CANCELLING:
        return attempt_ends.cancelled(session, job, outcome="lost")
    error = JobError(
        code="worker_lost",
        message="The worker fell silent and its lease ran out.",
        hint="Submit the job again; if it repeats, look at the workers' logs.",
    )
    return attempt_ends.attempt_failed(session, job, error, outcome="lost")


def fail_queued(session: Session, job: Job, error: JobError) -> Job:
    """Fails a job that no attempt holds. `job` is locked."""
    told = attempt_ends.completed(session, job, error)
    return attempt_ends.failed(session, job, told, outcome=None)


def _next_waiting(without_room: Collection[UUID]) -> Select[Job]:
    other = aliased(Job)
    running = (
        select(other.project_id, func.count().label("jobs"))
        .where(other.finished_at.is_(None), other.status.in_(HELD))
        .group_by(other.project_id)
        .subquery("running")
    )
    ready = Job.run_after <= func.clock_timestamp()
    return (
        select(Job)
        .outerjoin(running, running.c.project_id == Job.project_id)
        .where(Job.status == Status.QUEUED, ready, quotas.may_start())
        .where(Job.project_id.not_in(without_room))
        .order_by(Job.priority, func.coalesce(running.c.jobs, 0), Job.created_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Job)
    )


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
    budget = Budget.model_validate(job.budget)
    return Claim(
        job_id=job.id,
        project_id=job.project_id,
        attempt=job.attempt,
        max_attempts=get_settings().max_attempts,
        spec=spec,
        spec_hash=job.spec_hash,
        budget=budget,
        init_from=job.init_from,
        trace_id=job.trace_id,
        created_at=job.created_at,
        spent_gpu_seconds=job.gpu_seconds,
        spent_wall_clock_s=job.wall_clock_s,
        cost_gpu_seconds=budgets.cost_gpu_seconds(budget),
        checkpoints=[
            CheckpointRef(row.step, row.attempt, row.prefix, row.files, row.counters)
            for row in session.scalars(_kept_checkpoints(job))
        ],
        images=uploads.first_images(session, project_id=job.project_id, spec=spec),
    )


def _kept_checkpoints(job: Job) -> Select[Checkpoint]:
    query = select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.expired_at.is_(None))
    return query.order_by(Checkpoint.step.desc())


def _lease_end() -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=get_settings().lease_s)
