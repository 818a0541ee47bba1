"""Sessions: members sign in to the dashboards with a cookie, see their browsers, sign out."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import JsonValue

from api.access import address_of, cookie_name, count_open, count_sign_in, is_secure
from api.deps import CallerDep, SettingsDep
from api.documents import bounded_json, checked
from api.openapi import problems, takes
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.access import (
    AcceptRequest,
    MemberShape,
    SessionPage,
    SessionShape,
    SignInRequest,
)
from domain import audit, callers, db, ids, members, sessions
from domain.access_tables import Member, MemberSession
from domain.callers import Caller, Origin
from domain.errors import NotFound

open_router = APIRouter(tags=["access"])
"""For those who have no credential yet."""
router = APIRouter(prefix="/sessions", tags=["access"])
MAX_OPEN_BODY_BYTES = 16 * 1024


async def _open_document(request: Request) -> JsonValue:
    """The body of whoever has no credential: small, and not read before its address was counted."""
    await count_open(request)
    return await bounded_json(request, MAX_OPEN_BODY_BYTES)


OpenDocument = Annotated[JsonValue, Depends(_open_document)]

_SIGN_IN: dict[str, dict[str, Any]] = {
    "member": {"email": "ada@example.com", "password": "a long and private phrase"}
}
_ACCEPT: dict[str, dict[str, Any]] = {
    "invitation": {"token": "vdr_invite_Q3v9...", "password": "a long and private phrase"}
}


@open_router.post(
    "/invitations/accept",
    response_model=MemberShape,
    responses=problems(400, 401, 413, 415, 429),
    openapi_extra=takes(AcceptRequest, examples=_ACCEPT),
)
async def accept_invitation(request: Request, document: OpenDocument) -> MemberShape:
    """Take up an invitation by choosing a password (12 to 256 characters). Then sign in."""
    asked = await to_thread.run_sync(checked, document, AcceptRequest)
    return await to_thread.run_sync(_accept, asked, limiter=request.app.state.hashers)


def _accept(asked: AcceptRequest) -> MemberShape:
    with db.transaction() as session:
        member = members.accept(session, token=asked.token, password=asked.password)
        audit.record(session, _origin(member), action="member.join", target=_public(member))
    return MemberShape.of(member)


@open_router.post(
    "/sessions",
    status_code=201,
    response_model=SessionShape,
    responses=problems(400, 401, 413, 415, 429),
    openapi_extra=takes(SignInRequest, examples=_SIGN_IN),
)
async def sign_in(request: Request, document: OpenDocument, settings: SettingsDep) -> Response:
    """Sign in. The session's cookie is HttpOnly and SameSite=Strict; it may do what the member's role may.
    Requests that change something and carry the cookie must come from the service's own pages."""
    asked = await to_thread.run_sync(checked, document, SignInRequest)
    await count_sign_in(request, email=asked.email)
    row, token = await to_thread.run_sync(
        _sign_in,
        asked,
        address_of(request),
        request.headers.get("user-agent"),
        limiter=request.app.state.hashers,
    )
    response = JSONResponse(SessionShape.of(row, current=True).model_dump(mode="json"), 201)
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=settings.session_days * 24 * 3600,
        secure=is_secure(settings),
        httponly=True,
        samesite="strict",
    )
    return response


def _sign_in(
    asked: SignInRequest, address: str | None, user_agent: str | None
) -> tuple[MemberSession, str]:
    with db.transaction() as session:
        row, member, token = sessions.sign_in(
            session,
            email=asked.email,
            password=asked.password,
            project=asked.project,
            address=address,
            user_agent=user_agent,
        )
        audit.record(
            session,
            _origin(member),
            action="session.create",
            target=ids.to_public("ses", row.id),
        )
    return row, token


@router.get("", responses=problems(400, 403))
def list_sessions(
    request: Request,
    response: Response,
    caller: CallerDep,
    whose: Annotated[
        Literal["own", "all"], Query(description="Of all members: needs `keys:write`.")
    ] = "own",
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> SessionPage:
    """Browsers that are signed in, newest first."""
    member_id = _whose(caller, everyone=whose == "all")
    with db.read() as session:
        page = sessions.list_sessions(
            session,
            project_id=caller.project_id,
            member_id=member_id,
            cursor=cursor,
            limit=limit,
        )
    link_next(request, response, cursor=page.next_cursor)
    return SessionPage(
        data=[SessionShape.of(row, current=row.id == caller.session_id) for row in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.delete("/current", status_code=204, response_class=Response, responses=problems(403, 404))
def sign_out(caller: CallerDep, settings: SettingsDep) -> Response:
    """Sign out: ends the session that the request came with, and its cookie."""
    if caller.session_id is None:
        raise NotFound("This request came with an API key, not with a session.")
    _end(caller, caller.session_id, member_id=caller.member_id)
    response = Response(status_code=204)
    response.delete_cookie(
        cookie_name(settings), secure=is_secure(settings), httponly=True, samesite="strict"
    )
    return response


@router.delete(
    "/{session_id}", status_code=204, response_class=Response, responses=problems(403, 404)
)
def end_session(session_id: str, caller: CallerDep) -> Response:
    """End one of one's own sessions, or anybody's with `keys:write`."""
    anybodys = caller.member_id is None or "keys:write" in caller.scopes
    member_id = _whose(caller, everyone=True) if anybodys else caller.member_id
    _end(caller, ids.from_public("ses", session_id), member_id=member_id)
    return Response(status_code=204)


def _whose(caller: Caller, *, everyone: bool) -> UUID | None:
    """The member whose sessions are meant; None for those of all, which needs a scope."""
    if everyone or caller.member_id is None:
        callers.require(caller, "keys:write")
        return None
    return caller.member_id


def _end(caller: Caller, session_id: UUID, *, member_id: UUID | None) -> None:
    with db.transaction() as session:
        sessions.end(
            session,
            project_id=caller.project_id,
            member_id=member_id,
            session_id=session_id,
        )
        target = ids.to_public("ses", session_id)
        audit.record(session, caller, action="session.end", target=target)


def _origin(member: Member) -> Origin:
    return Origin(project_id=member.project_id, trace_id="", member_id=member.id)


def _public(member: Member) -> str:
    return ids.to_public("mem", member.id)
