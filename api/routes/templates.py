"""Job templates: what jobs of a kind have in common, stored once and versioned."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import JsonValue, ValidationError
from sqlalchemy.orm import Session

from api.deps import CallerDep, scope
from api.documents import JsonDocument, checked, storage_faults
from api.merged_faults import as_sent
from api.once import answer_of, once
from api.openapi import posts, problems, takes
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.templates import (
    JobTemplatePage,
    JobTemplatePatch,
    JobTemplateRequest,
    JobTemplateShape,
    summary,
    whole,
)
from api.waiting import etag_matches
from domain import audit, db, ids, templates
from domain.callers import Caller
from domain.errors import EtagMismatch, ValidationFailed
from domain.idempotency import Replay
from domain.merge_patch import merged
from domain.tables import Json
from domain.templates import Content, Found
from vader_core.faults import Fault, shape_faults

router = APIRouter(prefix="/job-templates", tags=["job templates"])

EXAMPLE: dict[str, Any] = {
    "name": "shapes-that-move",
    "description": "Our usual start: give prompts and a budget.",
    "spec": {
        "base_model": "tiny-unet",
        "rewards": [{"reward": "tiny-action"}],
        "evaluation": {"every_steps": 20},
        "budget": {"max_wall_clock_s": 600},
    },
}

_IF_MATCH = Header(
    alias="If-Match",
    description="The `ETag` of the template as you read it, or `*`: 412 where it has changed since.",
)
_VERSION = Query(ge=1, le=2**31 - 1, description="The newest where it is left out.")


@router.post(
    "",
    status_code=201,
    response_model=JobTemplateShape,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(JobTemplateRequest, examples={"template": EXAMPLE}, required=True),
    dependencies=[scope("templates:write")],
)
def create_job_template(
    request: Request, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """Store a job template. Its spec may leave out whatever jobs will bring in their `overrides`."""

    def act(session: Session) -> Replay:
        asked = checked(document, JobTemplateRequest, further=_spec_faults(document))
        found = templates.create(
            session,
            origin=caller.origin(request.state.trace_id),
            content=Content(asked.name, asked.description, asked.spec),
        )
        shown = whole(found)
        audit.record(session, caller, action="template.create", target=shown.id)
        headers = {"Location": f"/v1/job-templates/{shown.id}", "ETag": _etag(found)}
        return answer_of(shown, status_code=201, headers=headers)

    return once(request, caller, document, act)


@router.get("", responses=problems(400, 403), dependencies=[scope("jobs:read")])
def list_job_templates(
    request: Request,
    response: Response,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> JobTemplatePage:
    """Job templates of the project in their newest versions, without specs and without archived ones."""
    with db.read() as session:
        page = templates.list_templates(
            session, project_id=caller.project_id, cursor=cursor, limit=limit
        )
        descriptions = templates.newest_descriptions(session, page.items)
    link_next(request, response, cursor=page.next_cursor)
    return JobTemplatePage(
        data=[summary(template, descriptions[template.id]) for template in page.items],
        next_cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
    )


@router.get("/{template_id}", responses=problems(403, 404), dependencies=[scope("jobs:read")])
def get_job_template(
    template_id: str,
    response: Response,
    caller: CallerDep,
    version: Annotated[int | None, _VERSION] = None,
) -> JobTemplateShape:
    """One version of a job template. Archived ones can be read for ever."""
    with db.read() as session:
        found = templates.get(
            session,
            project_id=caller.project_id,
            template_id=ids.from_public("tpl", template_id),
            version=version,
        )
    response.headers["ETag"] = _etag(found)
    return whole(found)


@router.patch(
    "/{template_id}",
    responses=problems(400, 403, 404, 409, 412, 413, 415, 428),
    openapi_extra=takes(
        JobTemplatePatch, examples={"budget": {"spec": {"budget": {"max_wall_clock_s": 1200}}}}
    ),
    dependencies=[scope("templates:write")],
)
def change_job_template(
    request: Request,
    template_id: str,
    response: Response,
    caller: CallerDep,
    document: JsonDocument,
    if_match: Annotated[str, _IF_MATCH],
) -> JobTemplateShape:
    """Make a new version of a job template. Earlier versions stay as they are and can still be used."""
    with db.transaction() as session:
        held = _held(session, caller, template_id, if_match)
        found = templates.change(
            session,
            held,
            origin=caller.origin(request.state.trace_id),
            content=_changed(held, document),
        )
        details: Json = {"version": found.version.version}
        audit.record(session, caller, action="template.change", target=template_id, details=details)
        shown = whole(found)
    response.headers["ETag"] = _etag(found)
    return shown


@router.delete(
    "/{template_id}",
    responses=problems(403, 404, 412),
    dependencies=[scope("templates:write")],
)
def archive_job_template(
    template_id: str,
    response: Response,
    caller: CallerDep,
    if_match: Annotated[str | None, _IF_MATCH] = None,
) -> JobTemplateShape:
    """Archive a job template: new jobs cannot name it, jobs that were made from it go on."""
    with db.transaction() as session:
        found = templates.archive(session, _held(session, caller, template_id, if_match))
        audit.record(session, caller, action="template.archive", target=template_id)
        shown = whole(found)
    response.headers["ETag"] = _etag(found)
    return shown


def _held(session: Session, caller: Caller, template_id: str, if_match: str | None) -> Found:
    held = templates.held(
        session, project_id=caller.project_id, template_id=ids.from_public("tpl", template_id)
    )
    if if_match is not None and not etag_matches(if_match, _etag(held)):
        raise EtagMismatch(f"Its newest version is {held.template.version}.")
    return held


def _etag(found: Found) -> str:
    """Of this version, which changes in nothing but that its template is changed or archived."""
    archived = "-archived" if found.template.archived_at is not None else ""
    newest = found.template.version
    return f'W/"{found.version.version}-{newest}{archived}"'


def _changed(held: Found, document: JsonValue) -> Content:
    """What the template says once the merge patch `document` is applied. Raises `ValidationFailed`."""
    patch = {} if document is None else document
    made = merged(dataclasses.asdict(held.content), patch)
    faults, asked = _spec_faults(made), None
    try:
        asked = JobTemplateRequest.model_validate(made)
    except ValidationError as error:
        faults = [*shape_faults(error, made), *faults]
    told = as_sent(faults, patch=patch, at="", otherwise="", whose="the template")
    wrong = [*told, *storage_faults(patch)]
    if wrong or asked is None:
        raise ValidationFailed(wrong)
    return Content(asked.name, asked.description, asked.spec)


def _spec_faults(document: JsonValue) -> list[Fault]:
    spec = document.get("spec") if isinstance(document, dict) else None
    if not isinstance(spec, dict):
        # What is wrong with its form is told by the check of the whole.
        return []
    return [
        fault.model_copy(update={"pointer": f"/spec{fault.pointer}"})
        for fault in templates.spec_faults(spec)
    ]
