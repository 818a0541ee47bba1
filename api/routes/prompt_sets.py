"""Prompt sets: stored once, used by many jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, CatalogueDep, scope
from api.once import answer_of, once
from api.openapi import posts, problems, takes
from api.paging import CursorParameter, LimitParameter, link_next
from api.prompt_bodies import BY_LINES, PromptBodyDep
from api.prompt_set_request import base_model_row, checked_prompt_set
from api.schemas.prompt_sets import (
    PromptPage,
    PromptSetPage,
    PromptSetRequest,
    PromptSetShape,
    PromptSetSummary,
    PromptSetValidation,
    PromptShape,
)
from domain import audit, db, ids, prompt_sets, quotas
from domain.idempotency import Replay
from domain.prompt_report import DEFAULT_HELDOUT_FRACTION
from domain.prompt_sets import Side

router = APIRouter(prefix="/prompt-sets", tags=["prompt sets"])

EXAMPLES: dict[str, dict[str, Any]] = {
    "prompts": {
        "name": "shapes-that-move",
        "prompts": [
            {"prompt": "a red circle moving left", "target": "moving left"},
            {"prompt": "a blue square moving up", "target": "moving up", "heldout": True},
        ],
    }
}
_LINES = {
    "application/jsonl": '{"prompt": "a red circle moving left", "target": "moving left"}\n'
    '"a blue square moving up"\n',
    "text/plain": "a red circle moving left\na blue square moving up\n",
}
_LINES["application/x-ndjson"] = _LINES["application/jsonl"]


def _or_lines(described: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` with the bodies that are read by lines beside the JSON document."""
    for content_type in BY_LINES:
        described["requestBody"]["content"][content_type] = {
            "schema": {"type": "string", "description": "One prompt a line, as UTF-8."},
            "example": _LINES[content_type],
        }
    return described


@router.post(
    "",
    status_code=201,
    response_model=PromptSetShape,
    responses=problems(400, 403, 409, 413, 415),
    dependencies=[scope("prompt_sets:write")],
    openapi_extra=_or_lines(posts(PromptSetRequest, examples=EXAMPLES, required=True)),
)
def create_prompt_set(
    request: Request,
    caller: CallerDep,
    catalogue: CatalogueDep,
    body: PromptBodyDep,
) -> JSONResponse:
    """Store a prompt set. A name that exists gets a new version; versions never change.

    Send a JSON document, or one prompt a line with `?name=`: JSON Lines (an object as in the document, or
    a string) or plain text. What makes the prompts unusable is refused, all of it at once; what is likely
    a mistake stands in `report.warnings`.
    """
    row = base_model_row(body.base_model, catalogue)

    def act(session: Session) -> Replay:
        quotas.check_storage(session, caller.project_id)
        prompt_sets.one_at_a_time(session, caller.project_id)
        asked = checked_prompt_set(session, caller.project_id, body, row)
        origin = caller.origin(request.state.trace_id)
        made = prompt_sets.create(
            session, origin=origin, name=asked.name, prompts=asked.prompts, report=asked.report
        )
        shown = PromptSetShape.whole(made)
        audit.record(
            session,
            caller,
            action="prompt_set.create",
            target=shown.id,
            details={"name": shown.name, "version": shown.version, "prompts": shown.size},
        )
        headers = {"Location": f"/v1/prompt-sets/{shown.id}"}
        return answer_of(shown, status_code=201, headers=headers)

    return once(request, caller, body.wish, act)


@router.post(
    "/validate",
    responses=problems(400, 403, 413, 415),
    dependencies=[scope("prompt_sets:write")],
    openapi_extra=_or_lines(takes(PromptSetRequest, examples=EXAMPLES)),
)
def validate_prompt_set(
    caller: CallerDep,
    catalogue: CatalogueDep,
    body: PromptBodyDep,
) -> PromptSetValidation:
    """What storing this prompt set would answer: the report, or the same refusal. Nothing is stored."""
    row = base_model_row(body.base_model, catalogue)
    with db.transaction() as session:
        asked = checked_prompt_set(session, caller.project_id, body, row)
    return PromptSetValidation(name=asked.name, report=asked.report)


@router.get("", responses=problems(400, 403), dependencies=[scope("jobs:read")])
def list_prompt_sets(
    request: Request,
    response: Response,
    caller: CallerDep,
    name: Annotated[
        str | None, Query(max_length=200, description="Only the versions of this set.")
    ] = None,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> PromptSetPage:
    """Prompt sets of the project, newest first, without their prompts."""
    with db.read() as session:
        page = prompt_sets.list_sets(
            session, project_id=caller.project_id, name=name, cursor=cursor, limit=limit
        )
    link_next(request, response, cursor=page.next_cursor)
    return PromptSetPage(
        data=[PromptSetSummary.of(row) for row in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.get(
    "/{prompt_set_id}", responses=problems(403, 404, 410), dependencies=[scope("jobs:read")]
)
def get_prompt_set(prompt_set_id: str, caller: CallerDep) -> PromptSetShape:
    """One version of a prompt set with its report. Its prompts are at `prompts_url`."""
    with db.read() as session:
        row = prompt_sets.get(
            session,
            project_id=caller.project_id,
            prompt_set_id=ids.from_public("ps", prompt_set_id),
        )
    return PromptSetShape.whole(row)


@router.delete(
    "/{prompt_set_id}",
    status_code=204,
    response_class=Response,
    responses=problems(403, 404, 409),
    dependencies=[scope("prompt_sets:write")],
)
def delete_prompt_set(prompt_set_id: str, caller: CallerDep) -> Response:
    """Delete one version of a prompt set: it answers 410 from then on, other versions stay.

    409 `in_use` while a job that is not over has its prompts from it.
    """
    with db.transaction() as session:
        wanted = ids.from_public("ps", prompt_set_id)
        prompt_sets.delete(session, project_id=caller.project_id, prompt_set_id=wanted)
        audit.record(session, caller, action="prompt_set.delete", target=prompt_set_id)
    return Response(status_code=204)


@router.get(
    "/{prompt_set_id}/prompts",
    responses=problems(400, 403, 404, 410),
    dependencies=[scope("jobs:read")],
)
def list_prompts(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    response: Response,
    prompt_set_id: str,
    caller: CallerDep,
    side: Annotated[Side | None, Query(description="Only prompts of this side.")] = None,
    heldout_fraction: Annotated[
        float, Query(gt=0, lt=1, description="As a job would have it.")
    ] = DEFAULT_HELDOUT_FRACTION,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> PromptPage:
    """The prompts of a set in its order, each with the side that it is on."""
    with db.read() as session:
        row = prompt_sets.get(
            session,
            project_id=caller.project_id,
            prompt_set_id=ids.from_public("ps", prompt_set_id),
        )
        found, following = prompt_sets.placed_prompts(
            row, heldout_fraction=heldout_fraction, side=side, cursor=cursor, limit=limit
        )
    link_next(request, response, cursor=following)
    return PromptPage(
        data=[PromptShape.of(placed) for placed in found],
        next_cursor=following,
        has_more=following is not None,
    )
