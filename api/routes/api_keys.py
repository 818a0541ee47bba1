"""API keys: made, listed, renamed, revoked. Two that are valid at once let a team rotate them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, scope
from api.documents import JsonDocument, checked
from api.once import answer_of, once
from api.openapi import posts, problems, takes
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.access import ApiKeyPage, ApiKeyRequest, ApiKeyShape, NewApiKey, RenameRequest
from domain import api_keys, audit, callers, db, ids
from domain.callers import Caller
from domain.errors import ValidationFailed
from domain.idempotency import Replay
from vader_core.faults import Fault

router = APIRouter(prefix="/api-keys", tags=["access"], dependencies=[scope("keys:write")])

_EXAMPLES: dict[str, dict[str, Any]] = {
    "ci": {
        "name": "ads-ci",
        "scopes": ["jobs:read", "jobs:write", "prompt_sets:write"],
        "expires_at": "2027-06-30T00:00:00Z",
    }
}


@router.post(
    "",
    status_code=201,
    response_model=NewApiKey,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(ApiKeyRequest, examples=_EXAMPLES, required=True),
)
def create_api_key(request: Request, caller: CallerDep, document: JsonDocument) -> JSONResponse:
    """Make an API key. Its text is shown this once; a repeated request gets null in its place.

    A key that an API key makes ends with it at the latest. A project has at most 100 that hold."""

    def act(session: Session) -> Replay:
        asked = checked(document, ApiKeyRequest)
        callers.require_all(caller, asked.scopes)
        expires_at = _expiry(caller, asked.expires_at)
        api_keys.require_room(session, caller.project_id)
        key, text = api_keys.create(
            session,
            project_id=caller.project_id,
            name=asked.name,
            scopes=asked.scopes,
            expires_at=expires_at,
            by=caller,
        )
        session.flush()
        session.refresh(key)
        shown = NewApiKey.made(key, text)
        audit.record(
            session,
            caller,
            action="api_key.create",
            target=shown.id,
            details={"name": key.name, "scopes": key.scopes},
        )
        location = f"/v1/api-keys/{shown.id}"
        return answer_of(
            shown, status_code=201, headers={"Location": location}, unstored=("api_key",)
        )

    return once(request, caller, document, act)


def _expiry(caller: Caller, asked: datetime | None) -> datetime | None:
    """When the new key expires: a key that is made by a key ends no later. Raises `ValidationFailed`."""
    latest = None if caller.key_id is None else caller.expires_at
    if latest is not None and asked is not None and asked > latest:
        detail = f"The key that you use is valid until {latest.isoformat()}: no later than that."
        raise ValidationFailed([Fault(pointer="/expires_at", code="too_late", detail=detail)])
    return asked or latest


@router.get("", responses=problems(400, 403))
def list_api_keys(
    request: Request,
    response: Response,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> ApiKeyPage:
    """API keys that are not revoked, newest first."""
    with db.read() as session:
        page = api_keys.list_keys(session, project_id=caller.project_id, cursor=cursor, limit=limit)
    link_next(request, response, cursor=page.next_cursor)
    return ApiKeyPage(
        data=[ApiKeyShape.of(key) for key in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.get("/{api_key_id}", responses=problems(403, 404))
def get_api_key(api_key_id: str, caller: CallerDep) -> ApiKeyShape:
    """One API key, also after it was revoked."""
    with db.read() as session:
        key = api_keys.get(
            session, project_id=caller.project_id, key_id=ids.from_public("key", api_key_id)
        )
    return ApiKeyShape.of(key)


@router.patch(
    "/{api_key_id}",
    responses=problems(400, 403, 404, 413, 415),
    openapi_extra=takes(RenameRequest, examples={"rename": {"name": "ads-ci-2027"}}),
)
def rename_api_key(api_key_id: str, caller: CallerDep, document: JsonDocument) -> ApiKeyShape:
    """Give an API key another name."""
    asked = checked(document, RenameRequest)
    with db.transaction() as session:
        key = api_keys.rename(
            session,
            project_id=caller.project_id,
            key_id=ids.from_public("key", api_key_id),
            name=asked.name,
        )
        audit.record(
            session, caller, action="api_key.rename", target=api_key_id, details={"name": key.name}
        )
    return ApiKeyShape.of(key)


@router.delete(
    "/{api_key_id}", status_code=204, response_class=Response, responses=problems(403, 404)
)
def revoke_api_key(api_key_id: str, caller: CallerDep) -> Response:
    """Revoke an API key, for ever. Within 2 s no process answers it any more."""
    with db.transaction() as session:
        api_keys.revoke(
            session, project_id=caller.project_id, key_id=ids.from_public("key", api_key_id)
        )
        audit.record(session, caller, action="api_key.revoke", target=api_key_id)
    return Response(status_code=204)
