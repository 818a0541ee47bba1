"""The last writes of an attempt: its adapter and what it came to."""

from __future__ import annotations

import logging

from domain import claims, progress
from domain.errors import ChecksumMismatch, InvalidTransition, Unavailable
from domain.job_errors import JobError
from domain.job_status import Status
from vader_core.lines import Done
from worker.lease import Lease
from worker.outcome import Broken, Cancelled, Outcome, Paused, Released, Succeeded
from worker.uploads import Uploads

log = logging.getLogger(__name__)


def conclude(outcome: Outcome, *, lease: Lease, uploads: Uploads) -> None:
    """Publishes the adapter, if there is one, and ends the attempt in the job's record.

    A cancel that came while a finished adapter was being stored wins: the job ends cancelled, with the
    adapter. Raises `LeaseLost`.
    """
    try:
        match outcome:
            case Succeeded():
                # Said again for a trainer that was cut off; for others it changes nothing.
                lease.write(progress.record, lines=[outcome.done])
                uploads.publish_adapter(outcome.done)
                _succeed(outcome.done, lease)
            case Cancelled():
                if outcome.done is not None:
                    uploads.publish_adapter(outcome.done)
                _cancel(lease)
            case Paused():
                _pause(outcome, lease)
            case Released():
                lease.write(claims.release, reason=outcome.reason)
            case Broken():
                lease.write(claims.fail_attempt, error=outcome.error)
    except (ChecksumMismatch, Unavailable) as error:
        log.warning("%s: its adapter was not stored: %s", lease.name, error)
        lease.write(claims.fail_attempt, error=_not_stored(error))


def unexpected(error: Exception) -> JobError:
    """The error of an attempt that its supervisor could not carry through."""
    return JobError(
        code="internal",
        message=f"The worker could not carry the attempt through ({type(error).__name__}).",
        hint="The worker's log says more.",
    )


def _succeed(done: Done, lease: Lease) -> None:
    try:
        lease.write(claims.finish, to=Status.SUCCEEDED, stop_reason=done.stop_reason)
    except InvalidTransition:
        _cancel(lease)


def _pause(outcome: Paused, lease: Lease) -> None:
    """A job whose export had begun is no longer pausing: it goes on from its newest checkpoint, uncharged."""
    try:
        lease.write(claims.pause, reason=outcome.reason, stopped_by=outcome.stopped_by)
    except InvalidTransition:
        lease.write(claims.release, reason="stopped while its adapter was being exported")


def _cancel(lease: Lease) -> None:
    lease.write(claims.finish, to=Status.CANCELLED, stop_reason="cancelled")


def _not_stored(error: Exception) -> JobError:
    return JobError(
        code="storage_failed",
        message=f"The adapter could not be stored: {error}",
        hint="Nothing is wrong with the job; the object store needs attention.",
    )
