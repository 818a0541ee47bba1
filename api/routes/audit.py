"""The audit log: who did what, when, and from where."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from api.deps import CallerDep, scope
from api.openapi import problems
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.access import Actor, AuditPage, AuditShape
from domain import audit_log, db
from vader_core.moment import Moment

router = APIRouter(prefix="/audit-log", tags=["access"], dependencies=[scope("audit:read")])


@router.get("", responses=problems(400, 403))
def list_audit_entries(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    response: Response,
    caller: CallerDep,
    actor: Annotated[
        str | None, Query(max_length=64, description="An API key's or a member's id.")
    ] = None,
    actor_type: Literal["api_key", "member", "operator"] | None = None,
    action: Annotated[
        str | None,
        Query(max_length=100, description="`thing.verb`, or `thing` for all that is done to such."),
    ] = None,
    target: Annotated[
        str | None, Query(max_length=64, description="The id of what it was done to.")
    ] = None,
    after: Annotated[Moment | None, Query()] = None,
    before: Annotated[Moment | None, Query()] = None,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> AuditPage:
    """Entries of the audit log, newest first. They are never changed and never removed."""
    filters = audit_log.Filters(
        actor=actor,
        actor_type=actor_type,
        action=action,
        target=target,
        after=after,
        before=before,
    )
    with db.read() as session:
        page = audit_log.list_entries(
            session, project_id=caller.project_id, filters=filters, cursor=cursor, limit=limit
        )
        actors = audit_log.actors(session, page.items)
    link_next(request, response, cursor=page.next_cursor)
    return AuditPage(
        data=[AuditShape.of(entry, Actor(**actors[entry.id])) for entry in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )
