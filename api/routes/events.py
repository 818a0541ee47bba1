"""A job's events: a list, or a live stream for those who accept one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from api import streams
from api.deps import CallerDep, FeedDep, scope
from api.openapi import problems
from api.paging import link_next
from api.schemas.history import EventPage, EventShape
from domain import db, events, ids, jobs

router = APIRouter(prefix="/jobs/{job_id}/events", tags=["jobs"])

MAX_SEQ = 2**63 - 1
_STREAM: dict[str, Any] = {
    "description": "A page, or with `Accept: text/event-stream` every event as it comes.",
    "content": {
        streams.MEDIA_TYPE: {
            "schema": {"type": "string"},
            "example": 'id: 3\nevent: job.started\ndata: {"seq": 3, "type": "job.started"}\n\n',
        }
    },
}


@router.get(
    "",
    response_model=EventPage,
    responses={200: _STREAM, **problems(403, 404)},
    dependencies=[scope("jobs:read")],
)
async def list_job_events(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    job_id: str,
    caller: CallerDep,
    feed: FeedDep,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Only a `seq` above this.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="For the list alone.")] = 100,
    types: Annotated[list[str], Query(alias="type", description="Only these types.")] = [],  # noqa: B006
    last_event_id: Annotated[
        int | None,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=MAX_SEQ,
            description="For the stream: wins over `after`.",
        ),
    ] = None,
) -> Response:
    """Events by `seq`. The stream sends each once, in order, and ends after the terminal one; it can be
    resumed by `Last-Event-ID` or `after`."""
    job_uuid = ids.from_public("job", job_id)
    await to_thread.run_sync(_require_job, caller.project_id, job_uuid)
    if streams.MEDIA_TYPE in request.headers.get("accept", ""):
        place = streams.Place(
            key_id=caller.key_id,
            project_id=caller.project_id,
            job_id=job_uuid,
            after=after if last_event_id is None else last_event_id,
            types=tuple(types),
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(feed.stream(place), media_type=streams.MEDIA_TYPE, headers=headers)
    page = await to_thread.run_sync(_page, job_uuid, after, limit, types)
    response = JSONResponse(page.model_dump(mode="json"))
    link_next(request, response, after=page.next_cursor)
    return response


def _require_job(project_id: UUID, job_id: UUID) -> None:
    with db.read() as session:
        jobs.glimpse(session, project_id=project_id, job_id=job_id)


def _page(job_id: UUID, after: int, limit: int, types: list[str]) -> EventPage:
    with db.read() as session:
        found = events.list_after(session, job_id=job_id, after=after, limit=limit + 1, types=types)
    shown = [EventShape.of(event) for event in found[:limit]]
    more = len(found) > limit
    return EventPage(data=shown, next_cursor=str(shown[-1].seq) if more else None, has_more=more)
