"""What a worker may do with a job: claim it, keep the lease alive, hand it back, end it.

The attempt's number is the fencing token. A worker whose lease was reaped, whatever it still believes,
gets `StaleAttempt` and has changed nothing. Only the database's clock decides about leases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Row, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain import attempt_ends, budgets, events, jobs, prompt_sets, quotas, uploads, waiting_jobs
from domain.code_version import code_version
from domain.errors import InvalidTransition
from domain.job_errors import JobError
from domain.job_status import Status, allowed_actions
from domain.settings import get_settings
from domain.tables import Attempt, Checkpoint, Job, Json
from domain.uploads import ImageRef
from vader_core.spec import LEAST_SECONDS, Budget, JobSpec, Prompts


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

    `budget` is the budget as it is now, by which ceilings are kept, bound by what the project may still
    use this month; that of `spec` stays as the job was made. `spent_*` is what all earlier attempts used;
    `cost_gpu_seconds` are those that `max_cost` buys, None without such a ceiling. `checkpoints` are newest
    first, `images` the prompts' first images. `init_from` is the job's column of that name.
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
    spent_reward_queries: int
    spent_evaluation_queries: int
    cost_gpu_seconds: float | None
    checkpoints: list[CheckpointRef]
    images: list[ImageRef]


@dataclass(frozen=True)
class Heartbeat:
    """What the holder of a lease is told: wishes, and the budget as that of a `Claim`."""

    cancel_requested: bool
    keep_adapter: bool
    pause_requested: bool
    budget: Budget
    cost_gpu_seconds: float | None


def claim(session: Session, *, worker: str, hardware: str) -> Claim | None:
    """The job that should run next, now held by `worker`; None when none waits.

    The project with the fewest running jobs comes first, of its jobs the one of the highest priority, of
    these the oldest: priority sets the order within a project and never before others. Passed over are rows
    that another worker is claiming this moment, jobs that wait after a failed attempt, those that workers
    with more memory take (`domain.capacity`), and those of projects whose quotas are used up.
    """
    without_room: set[UUID] = set()
    while job := waiting_jobs.next_for(session, hardware=hardware, without_room=without_room):
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
        prompts = _prompts(session, job, spec)
        if prompts is None:
            fail_queued(session, job, _PROMPTS_GONE)
            continue
        spec = spec.model_copy(update={"prompts": prompts})
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
        insert(Attempt).values(
            job_id=job.id,
            number=job.attempt,
            worker=worker,
            hardware=hardware,
            code_version=code_version(),
            gpu_seconds_before=job.gpu_seconds,
        )
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
    return _heard(session, row)


def wishes(session: Session, *, job_id: UUID, attempt: int) -> Heartbeat:
    """What `heartbeat` would say, without prolonging the lease. Raises `StaleAttempt`."""
    query = select(*_WISHES).where(Job.id == job_id, jobs.held_by(attempt))
    row = session.execute(query).one_or_none()
    if row is None:
        raise jobs.stale(job_id, attempt)
    return _heard(session, row)


_WISHES = (
    Job.cancel_requested_at.is_not(None),
    Job.keep_adapter,
    Job.status == Status.PAUSING,
    Job.budget,
    Job.project_id,
    Job.gpu_seconds,
)


def _heard(session: Session, row: Row[bool, bool, bool, Json, UUID, float]) -> Heartbeat:
    cancel_requested, keep_adapter, pause_requested, stored, project_id, gpu_seconds = row
    budget = _bound_by_quota(session, project_id, stored, gpu_seconds)
    return Heartbeat(
        cancel_requested=cancel_requested,
        keep_adapter=keep_adapter,
        pause_requested=pause_requested,
        budget=budget,
        cost_gpu_seconds=budgets.cost_gpu_seconds(budget),
    )


def _bound_by_quota(session: Session, project_id: UUID, stored: Json, gpu_seconds: float) -> Budget:
    """The budget of a job that has used `gpu_seconds`, with no more than its project has left this month.

    It shrinks while other jobs of the project run, in whole seconds.
    """
    budget = Budget.model_validate(stored)
    left = quotas.gpu_seconds_left(session, project_id)
    if left is None:
        return budget
    most = max(float(math.floor(gpu_seconds + left)), LEAST_SECONDS)
    if budget.max_gpu_seconds is not None and budget.max_gpu_seconds <= most:
        return budget
    return budget.model_copy(update={"max_gpu_seconds": most})


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
    return attempt_ends.preempted(session, job, message=reason, outcome="released")


def pause(
    session: Session,
    *,
    job_id: UUID,
    attempt: int,
    reason: str,
    stopped_by: Budget | None = None,
) -> Job:
    """Pauses the job after its trainer has stopped; the attempt is not charged.

    `reason` is "requested", or the stop reason of the ceiling that was reached; `stopped_by` is the
    budget that the trainer went by then. Where more room was given since, the job is queued again
    instead, and one that is being cancelled is cancelled. Raises `StaleAttempt`, and
    `InvalidTransition` for a job that is already being finalised.
    """
    job = jobs.held(session, job_id=job_id, attempt=attempt)
    if job.status == Status.CANCELLING:
        return attempt_ends.cancelled(session, job, outcome="cancelled")
    if stopped_by is not None and budgets.allows_more(job, reason, than=stopped_by):
        return attempt_ends.stopped_for_nothing(session, job)
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


def _spec_unreadable(wrong: ValidationError) -> JobError:
    places = ["/" + "/".join(str(part) for part in fault["loc"]) for fault in wrong.errors()]
    return JobError(
        code="spec_unusable",
        message=f"This version of the service cannot read the job's spec: {', '.join(places)}.",
        hint="Nothing was spent. Submit the job again.",
        retryable=False,
    )


_PROMPTS_GONE = JobError(
    code="spec_unusable",
    message="The job's prompt set was deleted.",
    hint="Nothing was spent. Submit the job again with other prompts.",
    fault="user",
    retryable=False,
)


def _prompts(session: Session, job: Job, spec: JobSpec) -> Prompts | None:
    """The job's prompts, inline. None where they lay in a prompt set that was deleted."""
    if spec.prompts.prompt_set is None:
        return spec.prompts
    found = prompt_sets.load(session, project_id=job.project_id, reference=spec.prompts.prompt_set)
    if found is None:
        return None
    return spec.prompts.model_copy(update={"prompt_set": None, "inline": found})


def _claim(session: Session, job: Job, spec: JobSpec) -> Claim:
    budget = _bound_by_quota(session, job.project_id, job.budget, job.gpu_seconds)
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
        spent_reward_queries=job.reward_queries,
        spent_evaluation_queries=job.evaluation_queries,
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
