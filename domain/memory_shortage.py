"""What becomes of a job that ran out of memory: it goes on where a GPU has more, if one is there or soon comes."""

from __future__ import annotations

import math
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, func, not_, or_
from sqlalchemy.orm import Session

from domain import capacity, workers
from domain.hardware_classes import gpu_gib
from domain.job_errors import JobError
from domain.job_status import Status
from domain.settings import get_settings
from domain.tables import Attempt, Job

CODE = "out_of_memory"


def judged(session: Session, job: Job, error: JobError) -> JobError:
    """`error` of the current attempt, retryable where a living worker has a GPU that may hold the job.

    From now on the job needs more than the GPU has that it ran on. Where neither that nor anything else is
    known of its memory, `error` stays as it is.
    """
    gib = gpu_gib(session.get_one(Attempt, (job.id, job.attempt)).hardware)
    if gib is not None:
        # Workers tell of whole GiB.
        job.least_gib = max(job.least_gib or 0.0, math.floor(gib) + 1.0)
    if job.least_gib is None:
        return error
    if (capacity.largest_gib(workers.living(session)) or 0.0) >= job.least_gib:
        where = f"A worker is there with the {job.least_gib:.0f} GiB on one GPU that it needs."
        return _placed(error, where, retryable=True)
    where = f"No worker that is there has the {job.least_gib:.0f} GiB on one GPU that it needs."
    return _placed(error, where, retryable=error.retryable)


def taught(code: str | None, hardware: str) -> bool:
    """Whether an attempt that failed with this `code` told how much a job needs: another one follows only on
    a larger GPU, so that it is no fault of the job's, and there are no more of these than kinds of GPUs."""
    return code == CODE and gpu_gib(hardware) is not None


def stranded(session: Session) -> ColumnElement[bool]:
    """SQL over `Job`: it waits, and no worker that was there for longer than it may wait can hold it.

    That is its `max_queue_s` or else the setting `no_gpu_wait_s`. Where no worker at all is there, nothing
    is judged: they may come back.
    """
    if not workers.living(session):
        return false()
    settings = get_settings()
    wait_s = func.coalesce(Job.budget["max_queue_s"].as_float(), settings.no_gpu_wait_s)
    # A worker counts as there for the time of a lease.
    most_s = func.greatest(wait_s, settings.lease_s)
    since = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, most_s)
    held = [_could_hold(hardware, at, since) for hardware, at in workers.last_seen(session)]
    return and_(
        Job.status == Status.QUEUED,
        Job.least_gib.is_not(None),
        Job.queued_at < since,
        not_(or_(*held)),
    )


def stranded_error(job: Job) -> JobError:
    """Why a job ends that `stranded` found."""
    return JobError(
        code="queue_expired",
        message=f"The job needs {job.least_gib:.1f} GiB on one GPU, and no worker with as much was there "
        "for as long as it may wait.",
        hint="Smaller videos, a smaller batch or a smaller base model take less; or retry it when such a "
        "worker is there.",
    )


def _could_hold(
    hardware: str, seen_at: datetime, since: ColumnElement[datetime]
) -> ColumnElement[bool]:
    gib = gpu_gib(hardware)
    lately = since < seen_at
    return lately if gib is None else and_(lately, Job.least_gib <= gib)


def _placed(error: JobError, where: str, *, retryable: bool) -> JobError:
    hint = f"{error.hint} {where}".strip()
    return error.model_copy(update={"hint": hint, "retryable": retryable})
