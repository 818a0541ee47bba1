"""The audit log: who did what to which thing, written in the transaction that did it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from domain.access_tables import AuditEntry
from domain.callers import Caller, Origin
from domain.ids import new_id
from domain.tables import Json


@dataclass(frozen=True)
class Request:
    """The request that something is done in: its id, and the address that it came from."""

    request_id: str
    address: str | None


@dataclass(frozen=True)
class Operator:
    """Somebody with a shell of the service, working on one project."""

    project_id: UUID


current_request: ContextVar[Request | None] = ContextVar("audit_request", default=None)
"""Set for the length of every request."""


def record(
    session: Session,
    who: Caller | Origin | Operator,
    *,
    action: str,
    target: str | None = None,
    details: Json | None = None,
) -> None:
    """Notes that `who` did `action` (`thing.verb`) to the thing with the public id `target`.

    `details` are what a reader needs besides, as small JSON and never a secret.
    """
    request = current_request.get()
    kind, actor = _actor(who)
    session.add(
        AuditEntry(
            id=new_id(),
            project_id=who.project_id,
            actor_type=kind,
            actor_id=actor,
            action=action,
            target=target,
            details=details or {},
            request_id=None if request is None else request.request_id,
            address=None if request is None else request.address,
        )
    )


def _actor(who: Caller | Origin | Operator) -> tuple[str, UUID | None]:
    if isinstance(who, Operator):
        return "operator", None
    if who.key_id is not None:
        return "api_key", who.key_id
    return ("operator", None) if who.member_id is None else ("member", who.member_id)
