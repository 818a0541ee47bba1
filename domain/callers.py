"""Who asks: an API key or a member of a project, what they may do, and from which request it came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.errors import MissingScope


@dataclass(frozen=True)
class Origin:
    """Where something that is made comes from. One of `key_id` and `member_id`, or neither, is set."""

    project_id: UUID
    trace_id: str
    key_id: UUID | None = None
    member_id: UUID | None = None


@dataclass(frozen=True)
class Caller:
    """Who makes a request: one API key of one project, or a member who is signed in to it."""

    project_id: UUID
    name: str
    scopes: list[str]
    key_id: UUID | None
    member_id: UUID | None
    expires_at: datetime | None
    last_used_at: datetime | None
    session_id: UUID | None = None
    """Of the member's browser."""

    def origin(self, trace_id: str) -> Origin:
        """Of what this caller makes in the request with `trace_id`."""
        return Origin(
            project_id=self.project_id,
            trace_id=trace_id,
            key_id=self.key_id,
            member_id=self.member_id,
        )


def require_all(caller: Caller, scopes: Iterable[str]) -> None:
    """Raises `MissingScope` unless the caller has every one of `scopes`: nobody gives what he lacks."""
    for scope in scopes:
        if scope not in caller.scopes:
            detail = f"You cannot give the scope {scope!r}, which you do not have."
            raise MissingScope(detail, scope=scope)


def require(caller: Caller, scope: str) -> None:
    """Raises `MissingScope` when the caller may not do what `scope` stands for."""
    if scope not in caller.scopes:
        raise MissingScope(f"This needs the scope {scope!r}.", scope=scope)
