"""Why a job stands as it does, in a sentence for people."""

from __future__ import annotations

import math

from domain.budgets import CEILINGS
from domain.job_reading import Seen, WaitReason
from domain.job_status import Status
from domain.pausing import RAISED
from domain.tables import Job

_WAITS: dict[WaitReason, str] = {
    "no_free_gpu": "Waits for a worker to be free.",
    "project_concurrency": "Waits for another job of the project to end: as many run as may.",
    "quota": "Waits for the next month: the project's GPU-seconds are used up.",
    "backoff": "The last attempt failed; the next one begins in a moment.",
}


def status_reason(seen: Seen) -> str | None:
    """None where the status says it all."""
    job = seen.job
    if job.deleted_at is not None:
        return "Deleted: its files are gone."
    match Status(job.status):
        case Status.QUEUED:
            return None if seen.queued is None else _why_waiting(seen.queued.reason, job)
        case Status.PAUSING:
            return "A checkpoint is being written before it pauses."
        case Status.PAUSED:
            return _why_paused(job.pause_reason)
        case Status.CANCELLING:
            return "Asked to cancel; its worker stops it."
        case Status.FAILED:
            return None if job.error is None else str(job.error["message"])
    return None


def _why_waiting(reason: WaitReason, job: Job) -> str:
    if reason != "no_fitting_gpu":
        return _WAITS[reason]
    needs = math.ceil(job.least_gib or 0.0)
    return f"Waits for a worker with {needs} GiB on one GPU: none that is there has as much."


def _why_paused(reason: str | None) -> str:
    if reason in CEILINGS:
        return f"Paused at {CEILINGS[reason]}: raise it, then resume."
    if reason == RAISED:
        return "The ceiling at which it was paused was raised: resume it."
    return "Paused on request."
