"""What can go wrong with the embedded stack. All are `client.errors.VaderError`s.

StackError
|- WheelMissing   an optional dependency is not installed
|- FolderInUse    another `vader up` runs on this folder
|- PortTaken      the port that was asked for is in use
|- StartFailed    a process did not come up, with the tail of its log
`- StopAsked      not a fault: a signal came while waiting
"""

from __future__ import annotations

from pathlib import Path

from client.errors import VaderError

_TAIL_LINES = 20


class StackError(VaderError):
    """The embedded stack cannot start or go on."""


class WheelMissing(StackError):
    """An optional dependency is not installed."""


class FolderInUse(StackError):
    """Another `vader up` runs on this folder."""


class PortTaken(StackError):
    """The port that was asked for is in use."""


class StopAsked(StackError):
    """A signal asked for the end."""


class StartFailed(StackError):
    """A process did not come up or does not stay up."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(f"{what}\nThe end of {log}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"  (cannot be read: {error})"
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:]) or "  (empty)"
