"""Prompt sets: stored once, used by many jobs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, scope
from api.documents import JsonDocument, checked
from api.image_faults import image_faults
from api.once import answer_of, once
from api.openapi import posts, problems
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.prompt_sets import (
    PromptSetPage,
    PromptSetRequest,
    PromptSetShape,
    summary,
    whole,
)
from domain import db, ids, prompt_sets
from domain.idempotency import Replay

router = APIRouter(prefix="/prompt-sets", tags=["prompt sets"])

EXAMPLE: dict[str, Any] = {
    "name": "shapes-that-move",
    "prompts": [
        {"prompt": "a red circle moving left", "target": "moving left"},
        {"prompt": "a blue square moving up", "target": "moving up", "heldout": True},
    ],
}


@router.post(
    "",
    status_code=201,
    response_model=PromptSetShape,
    responses=problems(400, 403, 409, 413, 415),
    dependencies=[scope("prompt_sets:write")],
    openapi_extra=posts(PromptSetRequest, examples={"prompts": EXAMPLE}, required=True),
)
def create_prompt_set(request: Request, caller: CallerDep, document: JsonDocument) -> JSONResponse:
    """Store a prompt set. A name that exists gets a new version; versions never change."""

    def act(session: Session) -> Replay:
        given = document.get("prompts") if isinstance(document, dict) else None
        wrong = image_faults(
            session, project_id=caller.project_id, prompts=given, pointer="/prompts"
        )
        asked = checked(document, PromptSetRequest, further=wrong)
        row = prompt_sets.create(
            session,
            project_id=caller.project_id,
            name=asked.name,
            prompts=asked.prompts,
            created_by_key_id=caller.key_id,
        )
        location = f"/v1/prompt-sets/{ids.to_public('ps', row.id)}"
        return answer_of(whole(row), status_code=201, headers={"Location": location})

    return once(request, caller, document, act)


@router.get("", responses=problems(400))
def list_prompt_sets(
    request: Request,
    response: Response,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> PromptSetPage:
    """Prompt sets of the project, newest first, without their prompts."""
    with db.read() as session:
        page = prompt_sets.list_sets(
            session, project_id=caller.project_id, cursor=cursor, limit=limit
        )
    link_next(request, response, cursor=page.next_cursor)
    return PromptSetPage(
        data=[summary(row) for row in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.get("/{prompt_set_id}", responses=problems(404))
def get_prompt_set(prompt_set_id: str, caller: CallerDep) -> PromptSetShape:
    """One prompt set with its prompts."""
    with db.read() as session:
        row = prompt_sets.get(
            session,
            project_id=caller.project_id,
            prompt_set_id=ids.from_public("ps", prompt_set_id),
        )
    return whole(row)
