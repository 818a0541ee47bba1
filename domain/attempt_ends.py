"""How an attempt ends, and what becomes of its job: queued again, paused, failed or cancelled.

Every function is given a job that is locked, and closes the row of its attempt.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from domain import db, events, jobs, memory_shortage, queue, usage
from domain.ids import to_public
from domain.job_errors import JobError
from domain.job_status import Status
from domain.settings import get_settings
from domain.tables import Attempt, Checkpoint, Job, Json

Outcome = Literal["succeeded", "failed", "cancelled", "lost", "released", "paused"]
LONGEST_BACKOFF_S = 600.0
MAX_PREEMPTIONS = 20
_LET_GO: dict[str, Any] = {"owner": None, "lease_until": None}
ENDED: dict[str, Any] = {**_LET_GO, "finished_at": func.clock_timestamp()}
"""What changes in the row of every job that ends."""


def attempt_failed(session: Session, job: Job, error: JobError, *, outcome: Outcome) -> Job:
    """The attempt ended with `error`: another one follows where it can help, else the job fails.

    A worker that was lost after its attempt had got further is no fault of the job's: it counts as one
    that was drained.
    """
    if job.status == Status.CANCELLING:
        return cancelled(session, job, outcome=outcome)
    error = completed(session, job, error)
    if outcome == "lost" and _got_further(session, job):
        _tell_of(session, job, error)
        return preempted(session, job, outcome=outcome, error=error.model_dump(mode="json"))
    if error.code == memory_shortage.CODE:
        return _out_of_memory(session, job, error, outcome=outcome)
    charged = _charged(session, job) + 1
    again = error.retryable and charged < get_settings().max_attempts
    if not again or _failed_so_before(session, job, error):
        return failed(session, job, error, outcome=outcome)
    wait_s = _backoff_s(charged) if outcome == "failed" else 0.0
    return _again(session, job, error, outcome=outcome, wait_s=wait_s)


def _out_of_memory(session: Session, job: Job, error: JobError, *, outcome: Outcome) -> Job:
    """As other errors, but a larger GPU is no place where it failed before, and there is nothing to wait for.

    Where the job is known to need more than the GPU had, the attempt is not charged.
    """
    error = memory_shortage.judged(session, job, error)
    hardware = session.get_one(Attempt, (job.id, job.attempt)).hardware
    charged = _charged(session, job) + (not memory_shortage.taught(error.code, hardware))
    if not error.retryable or charged >= get_settings().max_attempts:
        return failed(session, job, error, outcome=outcome)
    return _again(session, job, error, outcome=outcome, message=error.hint)


def _again(
    session: Session,
    job: Job,
    error: JobError,
    *,
    outcome: Outcome,
    message: str = "",
    wait_s: float = 0.0,
) -> Job:
    """Another attempt follows the one that ended with `error`, unless the job is pausing."""
    told = error.model_dump(mode="json")
    _tell_of(session, job, error)
    if job.status == Status.PAUSING:
        return paused(session, job, outcome=outcome, error=told)
    return requeued(session, job, outcome=outcome, message=message, error=told, wait_s=wait_s)


def preempted(
    session: Session, job: Job, *, outcome: Outcome, message: str = "", error: Json | None = None
) -> Job:
    """The job goes on in another attempt, or is paused where it was pausing, without being charged.

    It fails when that happened too often.
    """
    if job.status == Status.PAUSING:
        return paused(session, job, outcome=outcome, error=error)
    if job.preemptions >= MAX_PREEMPTIONS:
        too_often = JobError(
            code="preempted_too_often",
            message=f"{job.preemptions + 1} workers were stopped or lost while they ran this job.",
            hint="Submit it again; with more frequent checkpoints less is lost.",
        )
        return failed(session, job, completed(session, job, too_often), outcome=outcome)
    job.preemptions += 1
    return requeued(session, job, outcome=outcome, message=message, error=error)


def stopped_for_nothing(session: Session, job: Job) -> Job:
    """The trainer stopped to pause at a ceiling, under which more room was given meanwhile."""
    if job.status == Status.PAUSING:
        return paused(session, job, outcome="paused")
    message = "More room was given while it stopped at its ceiling: it goes on."
    return requeued(session, job, outcome="paused", message=message)


def requeued(
    session: Session,
    job: Job,
    *,
    outcome: Outcome,
    message: str = "",
    error: Json | None = None,
    wait_s: float = 0.0,
) -> Job:
    """The job waits for its next attempt, which does not begin before `wait_s` seconds are over."""
    close(session, job, outcome=outcome, error=error)
    now = func.clock_timestamp()
    if wait_s == 0:
        db.after_commit(session, partial(queue.ring, job.id))
    return jobs.move(
        session,
        job.id,
        to=Status.QUEUED,
        message=message or (f"The next attempt begins in {wait_s:g} s." if wait_s else ""),
        queued_at=now,
        hinted_at=now,
        # Without a wait it is not after `hinted_at`, so that the sweeper does not ring again.
        run_after=now + timedelta(seconds=wait_s) if wait_s else func.now(),
        **_LET_GO,
    )


def paused(
    session: Session,
    job: Job,
    *,
    outcome: Outcome,
    error: Json | None = None,
    reason: str = "requested",
) -> Job:
    """The job, which is pausing, is paused: `reason` is "requested" or the ceiling's stop reason."""
    close(session, job, outcome=outcome, error=error)
    keep = timedelta(seconds=get_settings().paused_keep_s)
    return jobs.move(
        session,
        job.id,
        to=Status.PAUSED,
        data={"reason": reason},
        pause_reason=reason,
        paused_expires_at=func.clock_timestamp() + keep,
        **_LET_GO,
    )


def failed(session: Session, job: Job, error: JobError, *, outcome: Outcome | None) -> Job:
    """The job fails. `outcome` None: no attempt holds it."""
    told = error.model_dump(mode="json")
    if outcome is not None:
        close(session, job, outcome=outcome, error=told)
    return jobs.move(
        session,
        job.id,
        to=Status.FAILED,
        message=error.message,
        stop_reason="error",
        error=told,
        **ENDED,
    )


def cancelled(session: Session, job: Job, *, outcome: Outcome) -> Job:
    """The job, which is being cancelled, is cancelled."""
    close(session, job, outcome=outcome)
    return jobs.cancelled(session, job)


def completed(session: Session, job: Job, error: JobError) -> JobError:
    """`error` with the attempt and the newest checkpoint of the job."""
    kept = select(Checkpoint.id).where(Checkpoint.job_id == job.id, Checkpoint.expired_at.is_(None))
    newest = session.scalar(kept.order_by(Checkpoint.step.desc()).limit(1))
    checkpoint = None if newest is None else to_public("ck", newest)
    return error.model_copy(update={"attempt": job.attempt, "last_checkpoint": checkpoint})


def close(session: Session, job: Job, *, outcome: Outcome, error: Json | None = None) -> None:
    """Closes the attempt's row and adds its seconds to the job's, and to the ledger of usage.

    An attempt holds one device from the claim on, also while its trainer has no step to tell of yet.
    Of one whose worker fell silent, GPU-seconds count up to its last heartbeat.
    """
    held_until = Attempt.last_heartbeat_at if outcome == "lost" else Attempt.ended_at
    wall_clock_s = func.extract("epoch", Attempt.ended_at - Attempt.started_at)
    gpu_held_s = func.extract("epoch", held_until - Attempt.started_at)
    ended = (
        update(Attempt)
        .where(Attempt.job_id == job.id, Attempt.number == job.attempt)
        .values(ended_at=func.clock_timestamp(), outcome=outcome, error=error)
        .returning(wall_clock_s, gpu_held_s, Attempt.gpu_seconds_before)
        .execution_options(synchronize_session=False)
    )
    wall_s, held_s, gpu_seconds_before = session.execute(ended).one()
    before = usage.spent(job)
    job.wall_clock_s += float(wall_s)
    # What lines told of is part of it, so the larger of the two counts and not their sum.
    job.gpu_seconds = max(job.gpu_seconds, gpu_seconds_before + float(held_s))
    usage.add_growth(session, job, since=before)


def _tell_of(session: Session, job: Job, error: JobError) -> None:
    events.append(
        session,
        job_id=job.id,
        type="job.attempt_failed",
        message=error.message,
        data={"error": error.model_dump(mode="json")},
    )


_FURTHER = Attempt.last_step > func.coalesce(Attempt.resumed_from_step, 0)
"""SQL: whether an attempt has done a step."""


def _got_further(session: Session, job: Job) -> bool:
    query = select(_FURTHER).where(Attempt.job_id == job.id, Attempt.number == job.attempt)
    return session.scalars(query).one()


def _charged(session: Session, job: Job) -> int:
    """How many earlier attempts went wrong: those that were drained or paused are not charged, nor
    those whose worker was lost after they had got further, or whose GPU turned out to be too small."""
    went_wrong = (Attempt.outcome == "failed") | ((Attempt.outcome == "lost") & ~_FURTHER)
    query = select(Attempt.error["code"].astext, Attempt.hardware).where(
        Attempt.job_id == job.id, Attempt.number < job.attempt, went_wrong
    )
    earlier = session.execute(query)
    return sum(not memory_shortage.taught(code, hardware) for code, hardware in earlier)


def _failed_so_before(session: Session, job: Job, error: JobError) -> bool:
    """Whether the attempt before this one told of the same error at the same step: it is no accident."""
    before = session.get(Attempt, (job.id, job.attempt - 1))
    known = None if before is None or before.outcome != "failed" else before.error
    return known is not None and (known["code"], known["step"]) == (error.code, error.step)


def _backoff_s(failures: int) -> float:
    doubled: float = get_settings().retry_backoff_s * 2 ** (failures - 1)
    return min(doubled, LONGEST_BACKOFF_S)
