"""Events of a job and of a project: a list, or a live stream for those who accept one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import Header, Query, Request, Response

from api import streams
from api.deps import FeedDep
from api.event_json import event_json
from api.event_places import FeedPlace, JobPlace, Watcher
from api.openapi import problems
from api.paging import link_next, page_text
from api.polled import OR_COOKIE, polled_router, reads_of
from api.schemas.history import EventPage, FeedPage
from api.stream_access import StreamReader, wants_stream
from domain import db, event_feed, events, ids, jobs
from domain.errors import NotFound
from domain.reads import Reads
from domain.stream_tokens import Grant

polled = polled_router()

MAX_SEQ = 2**63 - 1
Types = Annotated[
    list[str], Query(alias="type", max_length=30, description="Only these types: an open set.")
]
Limit = Annotated[int, Query(ge=1, le=1000, description="For the list alone.")]


def _stream(frame_id: str) -> dict[str, Any]:
    frame = f'id: {frame_id}\nevent: job.started\ndata: {{"seq": 3, "type": "job.started"}}\n\n'
    return {
        "description": "A page, or with `Accept: text/event-stream` every event as it comes.",
        "content": {streams.MEDIA_TYPE: {"schema": {"type": "string"}, "example": frame}},
    }


@polled.get(
    "/jobs/{job_id}/events",
    tags=["jobs"],
    response_model=EventPage,
    responses={200: _stream("3"), **problems(403, 404)},
    openapi_extra=OR_COOKIE,
)
async def list_job_events(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    job_id: str,
    grant: StreamReader,
    feed: FeedDep,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="Only a `seq` above this.")] = 0,
    limit: Limit = 100,
    types: Types = [],  # noqa: B006
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
    job_uuid = _allowed(grant, job_id)
    start = after if last_event_id is None else last_event_id
    place = JobPlace(Watcher.of(grant.caller), job_uuid, start, tuple(types))
    if wants_stream(request):
        await to_thread.run_sync(_require_job, grant.caller.project_id, job_uuid)
        return feed.answer(place, project_id=grant.caller.project_id)
    page, more = await _page(reads_of(request), replace(place, after=after), limit)
    return _answer(request, page, more)


@polled.get(
    "/events",
    tags=["events"],
    response_model=FeedPage,
    responses={200: _stream("AAAAAAAAAxkBmrJL..."), **problems(400, 403, 404)},
    openapi_extra=OR_COOKIE,
)
async def list_project_events(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    grant: StreamReader,
    feed: FeedDep,
    after: Annotated[
        str | None,
        Query(
            max_length=100,
            description="Only what comes after this place: a cursor that this list or stream gave, or "
            "`latest` for what happens from now on. Without it: from the first event.",
        ),
    ] = None,
    limit: Limit = 100,
    types: Types = [],  # noqa: B006
    job: Annotated[str | None, Query(description="Only this job's.")] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID", max_length=100, description="For the stream: wins over `after`."
        ),
    ] = None,
) -> Response:
    """All events of the project, for dashboards: as a list, or as a stream that has no end.

    The order is one that readers can go on from: an event that becomes visible later than others never
    stands before them. Within a job it is that of `seq`. Ids of the stream are cursors of the list.
    """
    job_id = _allowed(grant, job) if job is not None else grant.job_id
    if job_id is not None:
        await to_thread.run_sync(_require_job, grant.caller.project_id, job_id)
    streamed = wants_stream(request)
    start = await to_thread.run_sync(_start, (last_event_id if streamed else None) or after)
    place = FeedPlace(Watcher.of(grant.caller), job_id, start, tuple(types))
    if streamed:
        return feed.answer(place, project_id=grant.caller.project_id)
    page, more = await to_thread.run_sync(_feed_page, place, limit)
    return _answer(request, page, more)


def _answer(request: Request, page: str, next_cursor: str | None) -> Response:
    response = Response(page, media_type="application/json")
    link_next(request, response, after=next_cursor)
    return response


def _allowed(grant: Grant, job_id: str) -> UUID:
    """The job's id. A token for one job knows no other."""
    job_uuid = ids.from_public("job", job_id)
    if grant.job_id not in {None, job_uuid}:
        raise NotFound(f"There is no job {job_id!r} for this token.")
    return job_uuid


def _require_job(project_id: UUID, job_id: UUID) -> None:
    with db.read() as session:
        jobs.glimpse(session, project_id=project_id, job_id=job_id)


async def _page(reads: Reads, place: JobPlace, limit: int) -> tuple[str, str | None]:
    """The page as JSON, and the cursor of the next."""
    project_id = place.watcher.project_id
    found = await events.look_after(
        reads,
        job_id=place.job_id,
        after=place.after,
        limit=limit + 1,
        types=place.types,
    )
    if not found:
        await to_thread.run_sync(_require_job, project_id, place.job_id)
    more = str(found[limit - 1].seq) if len(found) > limit else None
    return page_text(map(event_json, found[:limit]), next_cursor=more), more


def _start(after: str | None) -> event_feed.Place:
    if after is None:
        return event_feed.START
    if after != event_feed.LATEST:
        return event_feed.Place.from_cursor(after)
    with db.read() as session:
        return event_feed.latest(session)


def _feed_page(place: FeedPlace, limit: int) -> tuple[str, str | None]:
    with db.read() as session:
        found = event_feed.after(
            session,
            project_id=place.watcher.project_id,
            place=place.after,
            limit=limit + 1,
            types=place.types,
            job_id=place.job_id,
        ).events
    shown = found[:limit]
    end = (event_feed.Place.of(shown[-1]) if shown else place.after).cursor
    more = end if len(found) > limit else None
    return page_text(map(event_json, shown), next_cursor=more, resume_after=end), more
