"""Generations: videos from a prompt, with an adapter at a chosen scale or the base model alone."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api import generation_view
from api.deps import CallerDep, CatalogueDep, DoorbellDep, SettingsDep, StoreDep, scope
from api.documents import JsonDocument
from api.generation_request import asked_generation
from api.links import link_to
from api.once import answer_of, once
from api.openapi import acts, posts, problems
from api.paging import CursorParameter, LimitParameter, link_next
from api.problems import InputFault, InvalidParameters
from api.schemas.generations import GenerationPage, GenerationShape, LinkOf
from api.waiting import Glance, IfNoneMatch, Prefer, answered, waited, waits_for
from domain import adapter_registry, audit, db, generation_files, generations, ids, quotas
from domain.callers import Caller
from domain.errors import ArtifactExpired, NotFound
from domain.generation_table import GenerationStatus
from domain.idempotency import Replay
from domain.settings import Settings
from domain.store import ObjectStore
from vader_core.generating import GenerationSpec

router = APIRouter(prefix="/generations", tags=["generations"])

EXAMPLES: dict[str, dict[str, Any]] = {
    "beside_the_base": {
        "adapter": "@production",
        "adapter_scale": 0.8,
        "prompt": "a red kite over a windy beach, handheld shot",
        "seed": 11,
        "video": {"num_frames": 33, "inference_steps": 30},
        "compare_with_base": True,
        "score_with": ["hps-v2.1", {"reward": "motion"}],
    },
    "base_model_alone": {
        "base_model": "tiny-unet",
        "prompt": "a red circle moving left",
        "seeds": [1, 2],
    },
}


def _link_of(caller: Caller, store: ObjectStore, settings: Settings) -> LinkOf | None:
    """Links to files, for those who may read files."""
    if "artifacts:read" not in caller.scopes:
        return None
    return lambda key, name: link_to(store, settings, key=key, filename=name)


def _glimpse(session: Session, project_id: UUID, generation_id: UUID) -> Glance:
    row = generations.get(session, project_id=project_id, generation_id=generation_id)
    return generation_view.glance(session, row)


def _glimpse_of(caller: Caller, generation_id: UUID) -> Glance:
    with db.read() as session:
        return _glimpse(session, caller.project_id, generation_id)


@router.post(
    "",
    status_code=202,
    response_model=GenerationShape,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(GenerationSpec, examples=EXAMPLES, required=True),
    dependencies=[scope("generations:write")],
)
async def create_generation(  # noqa: PLR0913 (what the route is given)
    request: Request,
    caller: CallerDep,
    catalogue: CatalogueDep,
    doorbell: DoorbellDep,
    store: StoreDep,
    settings: SettingsDep,
    document: JsonDocument,
    prefer: Prefer = None,
) -> JSONResponse:
    """Ask for videos of one prompt. With `Prefer: wait=N` the answer comes when they are there, or after N seconds.

    They are made apart from training jobs: neither waits for the other.
    """

    def act(session: Session) -> Replay:
        asked = asked_generation(session, caller.project_id, document, catalogue)
        quotas.check_new_generation(session, caller.project_id)
        row = generations.create(session, asked, origin=caller.origin(request.state.trace_id))
        [shown] = generation_view.shown(session, [row], None)
        details = {"base_model": row.base_model, "adapter_id": shown.adapter_id}
        audit.record(session, caller, action="generation.create", target=shown.id, details=details)
        return answer_of(shown, status_code=202, headers={"Location": shown.links.self})

    made = await to_thread.run_sync(once, request, caller, document, act)
    public_id = made.headers["Location"].rpartition("/")[2]
    row_id = ids.from_public("gen", public_id)
    wait_s = await waited(doorbell, row_id, partial(_glimpse_of, caller, row_id), prefer=prefer)
    if wait_s is None:
        return made

    def as_it_is() -> GenerationShape:
        with db.read() as session:
            row = generations.get(session, project_id=caller.project_id, generation_id=row_id)
            return generation_view.shown(session, [row], _link_of(caller, store, settings))[0]

    shown = await to_thread.run_sync(as_it_is)
    kept = {
        name: value
        for name, value in made.headers.items()
        if name not in {"content-length", "content-type"}
    }
    headers = {**kept, "Preference-Applied": f"wait={wait_s}"}
    return JSONResponse(shown.model_dump(mode="json"), status_code=202, headers=headers)


@router.get("", responses=problems(400, 403), dependencies=[scope("jobs:read")])
def list_generations(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    response: Response,
    caller: CallerDep,
    store: StoreDep,
    settings: SettingsDep,
    adapter: Annotated[
        str | None, Query(max_length=200, description="`ad_...` or `@alias`, as it points now.")
    ] = None,
    statuses: Annotated[
        list[GenerationStatus], Query(alias="status", description="Any of these.")
    ] = [],  # noqa: B006
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> GenerationPage:
    """Generations of the project, newest first, without deleted ones."""
    with db.read() as session:
        page = generations.list_generations(
            session,
            project_id=caller.project_id,
            adapter_id=_adapter_id(session, caller, adapter),
            statuses=[status.value for status in statuses],
            cursor=cursor,
            limit=limit,
        )
        shown = generation_view.shown(session, page.items, _link_of(caller, store, settings))
    link_next(request, response, cursor=page.next_cursor)
    more = page.next_cursor is not None
    return GenerationPage(data=shown, next_cursor=page.next_cursor, has_more=more)


def _adapter_id(session: Session, caller: Caller, reference: str | None) -> UUID | None:
    """Also that of an adapter whose files are gone: what it made may still be there."""
    if reference is None:
        return None
    try:
        if "@" not in reference:
            return ids.from_public("ad", reference)
        found = adapter_registry.resolve(session, project_id=caller.project_id, reference=reference)
    except (NotFound, ArtifactExpired) as error:
        fault = InputFault(
            parameter="adapter", location="query", code="unknown_adapter", detail=error.detail
        )
        raise InvalidParameters([fault]) from error
    return found.id


@router.get(
    "/{generation_id}",
    response_model=GenerationShape,
    responses={304: {"description": "As `If-None-Match` names it."}, **problems(403, 404)},
    dependencies=[scope("jobs:read")],
)
def get_generation(
    generation_id: str,
    caller: CallerDep,
    store: StoreDep,
    settings: SettingsDep,
    waited_s: Annotated[int | None, Depends(waits_for("generation_id", "gen", _glimpse))],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One generation. Poll it with `If-None-Match` every `poll_after_s` seconds, or wait with `Prefer`."""
    with db.read() as session:
        row = generations.get(
            session,
            project_id=caller.project_id,
            generation_id=ids.from_public("gen", generation_id),
        )
        [shown] = generation_view.shown(session, [row], _link_of(caller, store, settings))
        seen = generation_view.glance(session, row)
    return answered(seen, lambda: shown, waited_s=waited_s, if_none_match=if_none_match)


@router.post(
    "/{generation_id}/cancel",
    status_code=202,
    response_model=GenerationShape,
    responses=problems(400, 403, 404, 409),
    openapi_extra=acts(),
    dependencies=[scope("generations:write")],
)
def cancel_generation(request: Request, generation_id: str, caller: CallerDep) -> JSONResponse:
    """Cancel a generation. It is over at once; a generator that works at it stops within seconds."""

    def act(session: Session) -> Replay:
        row = generations.cancel(
            session,
            project_id=caller.project_id,
            generation_id=ids.from_public("gen", generation_id),
        )
        [shown] = generation_view.shown(session, [row], None)
        audit.record(session, caller, action="generation.cancel", target=shown.id)
        return answer_of(shown, status_code=202, headers={})

    return once(request, caller, None, act)


@router.delete(
    "/{generation_id}",
    responses=problems(403, 404, 409),
    dependencies=[scope("generations:write")],
)
def delete_generation(generation_id: str, caller: CallerDep, store: StoreDep) -> GenerationShape:
    """Remove an ended generation's files. Its record stays, with `deleted_at`; lists leave it out."""
    row_id = ids.from_public("gen", generation_id)
    with db.transaction() as session:
        row = generations.delete(session, project_id=caller.project_id, generation_id=row_id)
        audit.record(session, caller, action="generation.delete", target=generation_id)
    generation_files.remove(store, row_id)
    with db.read() as session:
        row = generations.get(session, project_id=caller.project_id, generation_id=row_id)
        return generation_view.shown(session, [row], None)[0]
