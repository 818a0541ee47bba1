"""Reading the audit log: pages with filters, and who the actors are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, false, or_, select
from sqlalchemy.orm import Session

from domain import api_keys, members
from domain.access_tables import AuditEntry
from domain.errors import NotFound
from domain.ids import Prefix, from_public, to_public
from domain.pages import Page, page

_PREFIXES: dict[str, Prefix] = {"api_key": "key", "member": "mem"}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a list is narrowed to; every filter that is given must hold. `actor` and `target` are public
    ids, `action` is a `thing.verb` or a `thing`."""

    actor: str | None = None
    actor_type: str | None = None
    action: str | None = None
    target: str | None = None
    after: datetime | None = None
    before: datetime | None = None


def list_entries(
    session: Session, *, project_id: UUID, filters: Filters, cursor: str | None, limit: int
) -> Page[AuditEntry]:
    """The project's entries, newest first. Raises `InvalidCursor`."""
    query = select(AuditEntry).where(AuditEntry.project_id == project_id)
    given = json.dumps([str(project_id), asdict(filters)], default=str, sort_keys=True)
    return page(
        session,
        query.where(*_conditions(filters)),
        keys=(AuditEntry.created_at, AuditEntry.id),
        filtered_by=f"audit {given}",
        cursor=cursor,
        limit=limit,
    )


def actors(session: Session, entries: Sequence[AuditEntry]) -> dict[UUID, dict[str, Any]]:
    """Type, public id and present name of each entry's actor, by the entry's id."""
    ids: dict[str, set[UUID]] = {"api_key": set(), "member": set()}
    for entry in entries:
        if entry.actor_id is not None:
            ids[entry.actor_type].add(entry.actor_id)
    names = api_keys.names(session, ids["api_key"]) | members.names(session, ids["member"])
    return {entry.id: _actor(entry, names) for entry in entries}


def _actor(entry: AuditEntry, names: dict[UUID, str]) -> dict[str, Any]:
    if entry.actor_id is None:
        return {"type": entry.actor_type, "id": None, "name": None}
    public = to_public(_PREFIXES[entry.actor_type], entry.actor_id)
    return {"type": entry.actor_type, "id": public, "name": names.get(entry.actor_id)}


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool] | None] = [
        _is_by(filters.actor) if filters.actor else None,
        AuditEntry.actor_type == filters.actor_type if filters.actor_type else None,
        _is_action(filters.action) if filters.action else None,
        AuditEntry.target == filters.target if filters.target else None,
        AuditEntry.created_at > filters.after if filters.after else None,
        AuditEntry.created_at < filters.before if filters.before else None,
    ]
    return [condition for condition in conditions if condition is not None]


def _is_by(actor: str) -> ColumnElement[bool]:
    kind = "api_key" if actor.startswith("key_") else "member"
    try:
        wanted = from_public(_PREFIXES[kind], actor)
    except NotFound:
        return false()
    return (AuditEntry.actor_type == kind) & (AuditEntry.actor_id == wanted)


def _is_action(action: str) -> ColumnElement[bool]:
    return or_(
        AuditEntry.action == action, AuditEntry.action.startswith(f"{action}.", autoescape=True)
    )
