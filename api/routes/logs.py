"""What a job's trainer logged: as text, or as a live stream for those who accept one."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from anyio import to_thread
from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from api import streams
from api.deps import FeedDep, StoreDep
from api.event_places import Watcher
from api.log_places import LogPlace
from api.openapi import problems
from api.polled import OR_COOKIE, polled_router
from api.stream_access import StreamReader, wants_stream
from domain import db, ids, job_deletion, jobs, log_text, logs
from domain.errors import NotFound
from domain.log_table import LogChunk
from domain.store import ObjectStore
from domain.tables import Attempt

polled = polled_router()

MAX_TAIL = 10_000
_FRAME = (
    'id: 1-52\nevent: log\ndata: {"attempt": 1, "offset": 0, "text": "loading tiny-unet\\n"}\n\n'
)
_HEADERS = {
    "X-Log-Attempt": "The attempt whose log this is; missing where the job has had none.",
    "X-Log-Offset": "The byte of the attempt's log that the text begins with.",
    "X-Log-Complete": "`true` once the attempt is over and its whole log is stored.",
}
_ANSWER: dict[str, Any] = {
    "description": "Text, or with `Accept: text/event-stream` every piece as it comes.",
    "headers": {
        name: {"description": meaning, "schema": {"type": "string"}}
        for name, meaning in _HEADERS.items()
    },
    "content": {
        "text/plain": {"schema": {"type": "string"}, "example": "loading tiny-unet\n"},
        streams.MEDIA_TYPE: {"schema": {"type": "string"}, "example": _FRAME},
    },
}


@dataclass(frozen=True)
class _Log:
    """An attempt's log from byte `offset` on. `attempt` None: the job has had none."""

    attempt: int | None
    offset: int
    complete: bool
    parts: Iterable[bytes]


@polled.get(
    "/jobs/{job_id}/logs",
    tags=["jobs"],
    response_class=Response,
    responses={200: _ANSWER, **problems(403, 404, 410)},
    openapi_extra=OR_COOKIE,
)
async def get_job_logs(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    job_id: str,
    grant: StreamReader,
    feed: FeedDep,
    store: StoreDep,
    attempt: Annotated[
        int | None,
        Query(ge=1, le=10_000, description="The latest, or for a stream all of them, if left out."),
    ] = None,
    tail: Annotated[
        int | None, Query(ge=1, le=MAX_TAIL, description="Only the last lines, and what follows.")
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=r"^[0-9]{1,6}-[0-9]{1,15}$",
            description="For the stream: goes on after this `id`; wins over `tail`.",
        ),
    ] = None,
) -> Response:
    """The trainer's log. While an attempt runs, what it logs is here within a few seconds (its last
    mebibyte); afterwards the whole of it.

    The stream sends every piece once and in order, goes on with the next attempt, and ends with the job.
    """
    job_uuid = ids.from_public("job", job_id)
    if grant.job_id not in {None, job_uuid}:
        raise NotFound(f"There is no job {job_id!r} for this token.")
    find = _Finder(grant.caller.project_id, job_uuid, store)
    if wants_stream(request):
        place = LogPlace(
            Watcher.of(grant.caller), job_uuid, attempt or 0, 0, attempt is not None, store
        )
        place = await to_thread.run_sync(find.start, place, last_event_id, tail)
        return feed.answer(place, project_id=grant.caller.project_id)
    log = await to_thread.run_sync(find.log, attempt, tail)
    headers = {"X-Log-Offset": str(log.offset), "X-Log-Complete": str(log.complete).lower()}
    if log.attempt is not None:
        headers["X-Log-Attempt"] = str(log.attempt)
    return StreamingResponse(
        _as_utf8(log.parts), media_type="text/plain; charset=utf-8", headers=headers
    )


@dataclass(frozen=True)
class _Finder:
    """Finds logs of one job. To be used in a thread."""

    project_id: UUID
    job_id: UUID
    store: ObjectStore

    def log(self, number: int | None, tail: int | None) -> _Log:
        """The log of the attempt `number`, or of the latest; all of it or its last `tail` lines.

        Raises `NotFound`, `ArtifactExpired`, `Unavailable`.
        """
        row, pieces = self._look(number)
        if row is None:
            return _Log(None, 0, complete=False, parts=())
        start = pieces[0].start if pieces else 0
        end = pieces[-1].start + len(pieces[-1].body) if pieces else 0
        parts: Iterable[bytes] = [piece.body for piece in pieces]
        if row.log is not None:
            # Opened now: a file that is not there must be told before the answer begins.
            parts = log_text.blocks(self.store.open(row.log["key"]))
            start, end = 0, row.log["size_bytes"]
        if tail is not None:
            last = log_text.last_lines(parts, tail)
            parts, start = [last], end - len(last)
        return _Log(row.number, start, complete=row.log is not None, parts=parts)

    def start(self, place: LogPlace, last_event_id: str | None, tail: int | None) -> LogPlace:
        """Where a stream begins. Raises as `log`."""
        if last_event_id is not None:
            attempt, _, offset = last_event_id.partition("-")
            place = replace(place, attempt=int(attempt), offset=int(offset))
        elif tail is not None:
            log = self.log(place.attempt or None, tail)
            return replace(place, attempt=log.attempt or 0, offset=log.offset)
        self._look(place.attempt or None)
        return place

    def _look(self, number: int | None) -> tuple[Attempt | None, list[LogChunk]]:
        """The attempt's row and what pieces of its log there are."""
        with db.read() as session:
            job = jobs.glimpse(session, project_id=self.project_id, job_id=self.job_id)
            job_deletion.refuse_deleted(job)
            row = logs.attempt_of(session, job_id=self.job_id, number=number)
            if row is None:
                return None, []
            return row, logs.after(session, job_id=self.job_id, attempt=row.number)


def _as_utf8(parts: Iterable[bytes]) -> Iterator[str]:
    """The text, with a sign in place of what is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for part in parts:
        yield decoder.decode(part)
    yield decoder.decode(b"", final=True)
