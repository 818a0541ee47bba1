"""Jobs: create, list, look, cancel."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import AwareDatetime
from sqlalchemy.orm import Session

from api import job_view
from api.deps import LABEL, CallerDep, CatalogueDep, SettingsDep, StoreDep, scope
from api.documents import JsonDocument, checked
from api.job_request import resolved_spec
from api.links import link_to, redirect_to
from api.once import answer_of, once
from api.openapi import posts, problems
from api.paging import CursorParameter, LimitParameter, link_next
from api.problems import InputFault, InvalidParameters
from api.schemas.jobs import CancelRequest, JobPage, JobShape
from api.waiting import IfNoneMatch, etag, etag_matches, wait_if_asked
from domain import db, ids, job_list, jobs
from domain.errors import NotFound
from domain.idempotency import Replay
from domain.job_list import JobFilters
from domain.job_status import Status
from vader_core.method_spec import MethodName
from vader_core.spec import JobSpec

router = APIRouter(prefix="/jobs", tags=["jobs"])

_PROMPTS: dict[str, Any] = {
    "inline": [
        {"prompt": "a red circle moving left", "target": "moving left"},
        {"prompt": "a blue square moving up", "target": "moving up", "heldout": True},
    ]
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "reward_gradient": {
        "name": "shapes-that-move",
        "base_model": "tiny-unet",
        "method": {"type": "reward_gradient", "differentiable_steps": 1},
        "rewards": [{"reward": "tiny-action"}],
        "guards": [{"reward": "diversity", "min_ratio_to_base": 0.8}],
        "prompts": _PROMPTS,
        "budget": {"max_steps": 60, "max_wall_clock_s": 600},
        "labels": {"team": "ads"},
    },
    "grpo": {
        "name": "small-files",
        "base_model": "tiny-wan",
        "method": {"type": "grpo", "group_size": 8, "train_steps": 2},
        "rewards": [{"reward": "jpeg-size"}],
        "guards": [{"reward": "tiny-text-match"}],
        "prompts": _PROMPTS,
        "budget": {"max_steps": 60, "max_reward_queries": 960},
    },
}


@router.post(
    "",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(JobSpec, examples=EXAMPLES, required=True),
    dependencies=[scope("jobs:write")],
)
def create_job(
    request: Request,
    caller: CallerDep,
    catalogue: CatalogueDep,
    document: JsonDocument,
) -> JSONResponse:
    """Ask for an alignment job. Faulty specs are answered with all of their faults, nothing stored."""

    def act(session: Session) -> Replay:
        asked, spec = resolved_spec(session, caller.project_id, document, catalogue)
        job = jobs.create(
            session,
            project_id=caller.project_id,
            spec=spec,
            asked_spec=asked,
            created_by_key_id=caller.key_id,
            trace_id=request.state.trace_id,
        )
        shown = job_view.whole(session, job)
        return answer_of(shown, status_code=202, headers={"Location": shown.links.self})

    return once(request, caller, document, act)


def job_filters(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    statuses: Annotated[
        list[Status], Query(alias="status", description="Any of these; may be repeated.")
    ] = [],  # noqa: B006
    base_model: Annotated[str | None, Query(description="`id` or `id@version`.")] = None,
    method: Annotated[MethodName | None, Query(description="A spec's `method.type`.")] = None,
    reward: Annotated[str | None, Query(description="`id` or `id@version`.")] = None,
    created_by: Annotated[str | None, Query(description="An API key's id.")] = None,
    created_after: Annotated[AwareDatetime | None, Query()] = None,
    created_before: Annotated[AwareDatetime | None, Query()] = None,
    q: Annotated[str | None, Query(max_length=200, description="A part of the name.")] = None,
    label: Annotated[
        str | None, Query(alias=LABEL, description="Write the label's name for NAME.")
    ] = None,
) -> JobFilters:
    """What a list of jobs can be narrowed to."""
    prefix = LABEL.removesuffix("NAME")
    labels = {
        name.removeprefix(prefix): value
        for name, value in request.query_params.items()
        if name.startswith(prefix)
    }
    return JobFilters(
        statuses=tuple(statuses),
        base_model=base_model,
        method=method,
        reward=reward,
        created_by=_key_id(created_by),
        labels=labels,
        created_after=created_after,
        created_before=created_before,
        text=q,
    )


def _key_id(created_by: str | None) -> UUID | None:
    try:
        return None if created_by is None else ids.from_public("key", created_by)
    except NotFound as error:
        detail = "Give the id of an API key, as a job's `created_by` has it."
        fault = InputFault(
            parameter="created_by", location="query", code="no_key_id", detail=detail
        )
        raise InvalidParameters([fault]) from error


@router.get("", responses=problems(400, 403), dependencies=[scope("jobs:read")])
def list_jobs(
    request: Request,
    response: Response,
    caller: CallerDep,
    filters: Annotated[JobFilters, Depends(job_filters)],
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> JobPage:
    """Jobs of the project, newest first, without their specs."""
    with db.read() as session:
        page = job_list.list_jobs(
            session, project_id=caller.project_id, filters=filters, cursor=cursor, limit=limit
        )
        shown = job_view.summaries(session, page.items)
    link_next(request, response, cursor=page.next_cursor)
    more = page.next_cursor is not None
    return JobPage(data=shown, next_cursor=page.next_cursor, has_more=more)


@router.get(
    "/{job_id}",
    response_model=JobShape,
    responses={304: {"description": "As `If-None-Match` names it."}, **problems(403, 404)},
    dependencies=[scope("jobs:read")],
)
def get_job(
    request: Request,
    job_id: str,
    caller: CallerDep,
    waited_s: Annotated[int | None, Depends(wait_if_asked)],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One job. Poll it with `If-None-Match` every `poll_after_s` seconds, or wait with `Prefer`."""
    wanted = {"project_id": caller.project_id, "job_id": ids.from_public("job", job_id)}
    headers = {} if waited_s is None else {"Preference-Applied": f"wait={waited_s}"}
    if if_none_match is not None:
        with db.read() as session:
            tag = etag(session, jobs.glimpse(session, **wanted))
        if etag_matches(if_none_match, tag):
            return Response(status_code=304, headers={**headers, "ETag": tag})
    with db.read() as session:
        job = jobs.get(session, **wanted)
        headers["ETag"] = etag(session, job)
        shown = job_view.whole(session, job)
    if shown.poll_after_s is not None:
        headers["Retry-After"] = str(shown.poll_after_s)
    return JSONResponse(shown.model_dump(mode="json"), headers=headers)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(
        CancelRequest, examples={"keep_adapter": {"keep_adapter": True}}, required=False
    ),
    dependencies=[scope("jobs:write")],
)
def cancel_job(
    request: Request, job_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """Cancel a job. It is over at once while it waits, within seconds while it runs."""

    def act(session: Session) -> Replay:
        asked = checked(document, CancelRequest)
        job = jobs.request_cancel(
            session,
            project_id=caller.project_id,
            job_id=ids.from_public("job", job_id),
            keep_adapter=asked.keep_adapter,
        )
        return answer_of(job_view.whole(session, job), status_code=202, headers={})

    return once(request, caller, document, act)


@router.get(
    "/{job_id}/sheet",
    status_code=302,
    response_class=RedirectResponse,
    responses=problems(403, 404),
    dependencies=[scope("artifacts:read")],
)
def get_job_sheet(
    job_id: str, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> RedirectResponse:
    """The contact sheet of the job's samples, base row over adapter row: 302 to the PNG."""
    with db.read() as session:
        job = jobs.glimpse(
            session, project_id=caller.project_id, job_id=ids.from_public("job", job_id)
        )
    if job.sheet is None:
        raise NotFound("This job has no contact sheet yet.")
    return redirect_to(
        link_to(store, settings, key=job.sheet["key"], filename=f"{job_id}-sheet.png")
    )
