"""Jobs: create, list, look, change, delete."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.orm import Session

from api import expectations, job_filters, job_view
from api.deps import CallerDep, CatalogueDep, SettingsDep, StoreDep, scope
from api.documents import JsonDocument, storage_faults
from api.job_request import resolved_request
from api.links import link_to, redirect_to
from api.once import answer_of, once
from api.openapi import posts, problems, takes
from api.paging import CursorParameter, LimitParameter, link_next, page_text
from api.polled import OR_COOKIE, guard, polled_router, reads_of
from api.schemas.job_requests import JobRequest
from api.schemas.jobs import JobPage, JobShape
from api.waiting import (
    Glance,
    IfMatch,
    IfNoneMatch,
    Prefer,
    etag_matches,
    seen_revisions,
    waited,
)
from domain import audit, db, ids, job_deletion, job_list, job_patch, job_reading, jobs, quotas
from domain.callers import Caller
from domain.errors import NotFound
from domain.idempotency import Replay
from domain.job_list import JobFilters
from domain.job_patch import JobPatch
from domain.job_reading import Seen
from domain.job_status import TERMINAL, Status
from domain.tables import Json

router = APIRouter(prefix="/jobs", tags=["jobs"])
polled = polled_router()
JobsReader = Annotated[Caller, guard("jobs:read")]

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
    "template": {
        "template": "tpl_01kax4b7c8d9e0f1g2h3j4k5m6@2",
        "overrides": {"prompts": _PROMPTS, "budget": {"max_steps": 40}},
        "notify": {"events": ["job.succeeded", "job.failed"]},
        "expect": {"max_estimated_cost": {"amount": "45.00", "currency": "USD"}},
    },
}


PATCHES: dict[str, dict[str, Any]] = {
    "more_budget": {"budget": {"max_steps": 120, "max_gpu_seconds": 7200}},
    "no_deadline": {"budget": {"deadline_at": None}, "priority": "low"},
    "labels": {"name": "shapes that move, again", "labels": {"team": "ads", "ticket": None}},
}


@router.post(
    "",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(JobRequest, examples=EXAMPLES, required=True),
    dependencies=[scope("jobs:write")],
)
def create_job(
    request: Request,
    caller: CallerDep,
    catalogue: CatalogueDep,
    document: JsonDocument,
) -> JSONResponse:
    """Ask for an alignment job, by its whole spec or by a template with overrides.

    Faulty requests are answered with all of their faults, and nothing is stored. `expect` binds the job to a
    dry run: 409 `spec_hash_mismatch` or 422 `estimate_exceeds_limit` where that no longer holds.
    """

    def act(session: Session) -> Replay:
        asked = resolved_request(session, caller.project_id, document, catalogue, hold=True)
        need = expectations.meet(session, asked, catalogue)
        quotas.check_new_job(session, caller.project_id)
        job = jobs.create(
            session,
            spec=asked.spec,
            asked_spec=asked.document,
            origin=caller.origin(request.state.trace_id),
            ties=asked.ties,
            need=need,
        )
        target = ids.to_public("job", job.id)
        audit.record(session, caller, action="job.create", target=target)
        seen = job_reading.one(session, project_id=caller.project_id, job_id=job.id)
        shown = job_view.whole(seen)
        return answer_of(shown, status_code=202, headers={"Location": shown.links.self})

    return once(request, caller, document, act)


@polled.get(
    "/jobs",
    tags=["jobs"],
    response_model=JobPage,
    responses=problems(400, 403),
    openapi_extra=OR_COOKIE,
)
async def list_jobs(
    request: Request,
    caller: JobsReader,
    filters: Annotated[JobFilters, Depends(job_filters.of_query)],
    sort: Annotated[
        Literal["created_at", "-created_at"], Query(description="`-`: the newest first.")
    ] = "-created_at",
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> Response:
    """Jobs of the project by age, without their specs. Deleted ones are among them."""
    page = await job_list.list_jobs(
        reads_of(request),
        project_id=caller.project_id,
        filters=filters,
        cursor=cursor,
        limit=limit,
        oldest_first=sort == "created_at",
    )
    text = page_text(map(job_view.summary_json, page.items), next_cursor=page.next_cursor)
    response = Response(text, media_type="application/json")
    link_next(request, response, cursor=page.next_cursor)
    return response


@polled.get(
    "/jobs/{job_id}",
    tags=["jobs"],
    response_model=JobShape,
    responses={304: {"description": "As `If-None-Match` names it."}, **problems(403, 404)},
    openapi_extra=OR_COOKIE,
)
async def get_job(
    request: Request,
    job_id: str,
    caller: JobsReader,
    prefer: Prefer = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One job. Poll it with `If-None-Match` every `poll_after_s` seconds, or wait with `Prefer`."""
    reads = reads_of(request)
    wanted = {"project_id": caller.project_id, "job_id": ids.from_public("job", job_id)}
    headers = {}
    if prefer is not None:
        doorbell, look = request.app.state.doorbell, partial(_glance, **wanted)
        waited_s = await waited(
            doorbell, wanted["job_id"], look, prefer=prefer, if_none_match=if_none_match
        )
        if waited_s is not None:
            headers["Preference-Applied"] = f"wait={waited_s}"
    if if_none_match is not None:
        tag = job_view.tag_text(await job_reading.look_at_tag(reads, **wanted))
        if etag_matches(if_none_match, tag):
            return Response(status_code=304, headers={**headers, "ETag": tag})
    seen, specs = await job_reading.look(reads, **wanted)
    return _shown(seen, job_view.whole_json(seen, specs), headers)


@router.patch(
    "/{job_id}",
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 412, 413, 415, 428),
    openapi_extra=takes(JobPatch, examples=PATCHES),
    dependencies=[scope("jobs:write")],
)
def change_job(
    job_id: str, caller: CallerDep, document: JsonDocument, if_match: IfMatch
) -> Response:
    """Change a job's name, labels, priority or budget, as a JSON merge patch (RFC 7396).

    Works until it is finalised; a running trainer hears of a new budget within seconds. No ceiling can
    be set below what is spent. Learning-rate schedules keep to the steps of the spec as it was made.
    """
    with db.transaction() as session:
        done = job_patch.patch(
            session,
            project_id=caller.project_id,
            job_id=ids.from_public("job", job_id),
            document=document,
            seen=seen_revisions(if_match),
            further=storage_faults(document),
        )
        # Values of labels can be long, and the log keeps what it has for ever.
        details: Json = {"fields": done.fields, "budget": done.budget}
        audit.record(session, caller, action="job.patch", target=job_id, details=details)
        seen = job_reading.one(session, project_id=caller.project_id, job_id=done.job.id)
    return _answer(seen)


@router.delete(
    "/{job_id}",
    response_model=JobShape,
    responses=problems(403, 404, 409),
    dependencies=[scope("jobs:write")],
)
def delete_job(job_id: str, caller: CallerDep) -> Response:
    """Delete a job that is over: its files are removed and answer 410, the job stays readable.

    409 `in_use` while an alias points at one of its adapters, or something under way starts from it.
    """
    with db.transaction() as session:
        wanted = ids.from_public("job", job_id)
        job_deletion.delete(session, project_id=caller.project_id, job_id=wanted)
        audit.record(session, caller, action="job.delete", target=job_id)
        seen = job_reading.one(session, project_id=caller.project_id, job_id=wanted)
    return _answer(seen)


def _glance(project_id: UUID, job_id: UUID) -> Glance:
    with db.read() as session:
        tag = job_reading.tag_of(session, project_id=project_id, job_id=job_id)
    return Glance(job_view.tag_text(tag), ended=Status(tag.status) in TERMINAL)


def _answer(seen: Seen) -> Response:
    return _shown(seen, job_view.whole(seen).model_dump_json(), {})


def _shown(seen: Seen, text: str, headers: dict[str, str]) -> Response:
    headers = {**headers, "ETag": job_view.tag(seen)}
    poll_after_s = job_view.poll_after_s(seen.job)
    if poll_after_s is not None:
        headers["Retry-After"] = str(poll_after_s)
    return Response(text, media_type="application/json", headers=headers)


@router.get(
    "/{job_id}/sheet",
    status_code=302,
    response_class=RedirectResponse,
    responses=problems(403, 404, 410),
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
    job_deletion.refuse_deleted(job)
    if job.sheet is None:
        raise NotFound("This job has no contact sheet yet.")
    return redirect_to(
        link_to(store, settings, key=job.sheet["key"], filename=f"{job_id}-sheet.png")
    )
