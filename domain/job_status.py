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
    PAUSING = "pausing"
    """Somebody asked to pause; the trainer writes a checkpoint."""
    PAUSED = "paused"
    """Nobody works at it; it goes on from its newest checkpoint when somebody resumes it."""
    FINALIZING = "finalizing"
    """The trainer is done; its adapter is being stored and checked."""
    CANCELLING = "cancelling"
    """Somebody asked to cancel; the worker winds up."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(
        {Status.STARTING, Status.PAUSED, Status.FAILED, Status.CANCELLING},
    ),
    Status.STARTING: frozenset(
        {Status.RUNNING, Status.PAUSING, Status.QUEUED, Status.FAILED, Status.CANCELLING},
    ),
    Status.RUNNING: frozenset(
        {Status.FINALIZING, Status.PAUSING, Status.QUEUED, Status.FAILED, Status.CANCELLING},
    ),
    # A trainer that was at its end when the pause was asked for still ends.
    Status.PAUSING: frozenset(
        {Status.PAUSED, Status.FINALIZING, Status.QUEUED, Status.FAILED, Status.CANCELLING},
    ),
    Status.PAUSED: frozenset(
        {Status.QUEUED, Status.FINALIZING, Status.FAILED, Status.CANCELLING},
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
HELD = frozenset(
    {Status.STARTING, Status.RUNNING, Status.PAUSING, Status.FINALIZING, Status.CANCELLING}
)
"""The states in which an attempt may hold a lease."""

_ACTIONS: dict[Status, tuple[str, ...]] = {
    Status.QUEUED: ("cancel", "pause", "patch"),
    Status.STARTING: ("cancel", "pause", "patch"),
    Status.RUNNING: ("cancel", "pause", "patch"),
    Status.PAUSING: ("cancel", "patch"),
    Status.PAUSED: ("cancel", "resume", "patch"),
    Status.FINALIZING: ("cancel",),
    Status.CANCELLING: (),
    Status.SUCCEEDED: ("extend", "delete"),
    Status.FAILED: ("retry", "extend", "delete"),
    Status.CANCELLED: ("extend", "delete"),
}


def sources(to: Status) -> list[Status]:
    """The states from which a job may move to `to`."""
    return [status for status, ways in TRANSITIONS.items() if to in ways]


def allowed_actions(status: str) -> list[str]:
    """What a client may ask of a job in `status`."""
    return list(_ACTIONS[Status(status)])
