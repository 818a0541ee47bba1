"""Members of the dashboards: invited, listed, changed, removed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, scope
from api.documents import JsonDocument, checked
from api.once import answer_of, once
from api.openapi import posts, problems, takes
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.access import (
    InviteAgainRequest,
    InvitedMember,
    MemberChange,
    MemberPage,
    MemberRequest,
    MemberShape,
)
from domain import audit, callers, db, ids, members
from domain.idempotency import Replay
from domain.members import SCOPES

router = APIRouter(prefix="/members", tags=["access"], dependencies=[scope("keys:write")])

_EXAMPLES: dict[str, dict[str, Any]] = {
    "editor": {"email": "ada@example.com", "name": "Ada", "role": "editor"}
}


@router.post(
    "",
    status_code=201,
    response_model=InvitedMember,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(MemberRequest, examples=_EXAMPLES, required=True),
)
def invite_member(request: Request, caller: CallerDep, document: JsonDocument) -> JSONResponse:
    """Invite somebody. The invitation's token is shown this once and holds for 7 days; a role may not
    have more scopes than whoever invites."""

    def act(session: Session) -> Replay:
        asked = checked(document, MemberRequest)
        callers.require_all(caller, SCOPES[asked.role])
        member, token = members.invite(
            session,
            project_id=caller.project_id,
            email=asked.email,
            name=asked.name,
            role=asked.role,
        )
        shown = InvitedMember.invited(member, token)
        details: dict[str, Any] = {"email": member.email, "role": member.role}
        audit.record(session, caller, action="member.invite", target=shown.id, details=details)
        headers = {"Location": f"/v1/members/{shown.id}"}
        return answer_of(shown, status_code=201, headers=headers, unstored=("invitation_token",))

    return once(request, caller, document, act)


@router.get("", responses=problems(400, 403))
def list_members(
    request: Request,
    response: Response,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> MemberPage:
    """Members of the project, newest first."""
    with db.read() as session:
        page = members.list_members(
            session, project_id=caller.project_id, cursor=cursor, limit=limit
        )
    link_next(request, response, cursor=page.next_cursor)
    return MemberPage(
        data=[MemberShape.of(member) for member in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.get("/{member_id}", responses=problems(403, 404))
def get_member(member_id: str, caller: CallerDep) -> MemberShape:
    """One member."""
    with db.read() as session:
        member = members.get(
            session, project_id=caller.project_id, member_id=ids.from_public("mem", member_id)
        )
    return MemberShape.of(member)


@router.patch(
    "/{member_id}",
    responses=problems(400, 403, 404, 413, 415),
    openapi_extra=takes(MemberChange, examples={"promote": {"role": "admin"}}),
)
def change_member(member_id: str, caller: CallerDep, document: JsonDocument) -> MemberShape:
    """Change a member's name or role. Open sessions follow within 2 s."""
    asked = checked(document, MemberChange)
    wanted = {"project_id": caller.project_id, "member_id": ids.from_public("mem", member_id)}
    with db.transaction() as session:
        now = members.get(session, **wanted)
        if asked.role is not None:
            callers.require_all(caller, {*SCOPES[asked.role], *SCOPES[now.role]})
        member = members.change(session, **wanted, name=asked.name, role=asked.role)
        details = asked.model_dump(mode="json", exclude_none=True)
        audit.record(session, caller, action="member.change", target=member_id, details=details)
    return MemberShape.of(member)


@router.delete(
    "/{member_id}", status_code=204, response_class=Response, responses=problems(403, 404)
)
def remove_member(member_id: str, caller: CallerDep) -> Response:
    """Remove a member: sessions and invitations end, and API keys that the member made, with those that
    were made by these."""
    with db.transaction() as session:
        revoked = members.remove(
            session, project_id=caller.project_id, member_id=ids.from_public("mem", member_id)
        )
        details: dict[str, Any] = {"api_keys": [ids.to_public("key", key) for key in revoked]}
        audit.record(session, caller, action="member.remove", target=member_id, details=details)
    return Response(status_code=204)


@router.post(
    "/{member_id}/invitation",
    response_model=InvitedMember,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(InviteAgainRequest, examples={"again": {}}, required=False),
)
def invite_member_again(
    request: Request, member_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """A fresh invitation, for one that expired or a password that was forgotten. Earlier ones end."""

    def act(session: Session) -> Replay:
        checked(document, InviteAgainRequest)
        wanted = ids.from_public("mem", member_id)
        member, token = members.invite_again(
            session, project_id=caller.project_id, member_id=wanted
        )
        callers.require_all(caller, SCOPES[member.role])
        audit.record(session, caller, action="member.invite", target=member_id)
        shown = InvitedMember.invited(member, token)
        return answer_of(shown, status_code=200, headers={}, unstored=("invitation_token",))

    return once(request, caller, document, act)
