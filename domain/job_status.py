"""The states of a job and the ways between them. Pure: no database, no clock."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands. `phase` on the job tells the finer step."""

    QUEUED = "queued"
    """Waits for a worker."""
    STARTING = "starting"
    """A worker holds the lease, the trainer is not up yet."""
    RUNNING = "running"
    """The trainer works."""
    FINALIZING = "finalizing"
    """The trainer is done; its adapter is being stored and checked."""
    CANCELLING = "cancelling"
    """Somebody asked to cancel; the worker winds up."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.FAILED, Status.CANCELLING}),
    Status.STARTING: frozenset(
        {Status.RUNNING, Status.QUEUED, Status.FAILED, Status.CANCELLING},
    ),
    Status.RUNNING: frozenset(
        {Status.FINALIZING, Status.QUEUED, Status.FAILED, Status.CANCELLING},
    ),
    Status.FINALIZING: frozenset(
        {Status.SUCCEEDED, Status.QUEUED, Status.FAILED, Status.CANCELLING},
    ),
    Status.CANCELLING: frozenset({Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
TERMINAL = frozenset(status for status, ways in TRANSITIONS.items() if not ways)
HELD = frozenset({Status.STARTING, Status.RUNNING, Status.FINALIZING, Status.CANCELLING})
"""The states in which an attempt holds a lease."""


def sources(to: Status) -> list[Status]:
    """The states from which a job may move to `to`."""
    return [status for status, ways in TRANSITIONS.items() if to in ways]


def allowed_actions(status: str) -> list[str]:
    """What a client may ask of a job in `status`."""
    return ["cancel"] if Status.CANCELLING in TRANSITIONS[Status(status)] else []
