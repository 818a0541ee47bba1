"""What becomes of a job that ran out of memory: it goes on where a GPU has more, if one is there."""

from __future__ import annotations

import math

from sqlalchemy.orm import Session

from domain import capacity, workers
from domain.hardware_classes import gpu_gib
from domain.job_errors import JobError
from domain.tables import Attempt, Job


def judged(session: Session, job: Job, error: JobError) -> JobError:
    """`error` of the current attempt, retryable where a living worker has a larger GPU than it ran on.

    From now on the job needs more than that GPU has. Where its memory is not known, `error` stays as it is.
    """
    gib = gpu_gib(session.get_one(Attempt, (job.id, job.attempt)).hardware)
    if gib is None:
        return error
    # Workers tell of whole GiB.
    job.least_gib = max(job.least_gib or 0.0, math.floor(gib) + 1.0)
    if (capacity.largest_gib(workers.living(session)) or 0.0) > gib:
        hint = f"{gib:.0f} GiB on one GPU are too few for it; a worker with more is there."
        return error.model_copy(update={"retryable": True, "hint": hint})
    none = f"No worker that is there has more than {gib:.0f} GiB on one GPU."
    return error.model_copy(update={"hint": f"{error.hint} {none}".strip()})
