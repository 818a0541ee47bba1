"""The live stream of a job's events (Server-Sent Events).

The table is the truth, the doorbell only says when to look: an event reaches the stream even when its
notification was lost, at the next keep-alive. A stream holds no database connection between looks, and
streams that stand at the same place share one look.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from anyio import to_thread

from api.doorbell import Doorbell, heard_within
from api.schemas.history import EventShape
from domain import api_keys, db, events, jobs
from domain.errors import DomainError
from domain.job_status import TERMINAL, Status
from domain.tables import Event

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE_S = 15.0
RETRY_MS = 3000
READ_AT_ONCE = 200
_TERMINAL_TYPES = frozenset(f"job.{status}" for status in TERMINAL)


@dataclass(frozen=True)
class Place:
    """Where a stream stands: whose it is, and which events it wants next."""

    key_id: UUID
    project_id: UUID
    job_id: UUID
    after: int
    types: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """What one look into the table found. `ended`: nothing will come after these frames."""

    frames: Sequence[str]
    last_seq: int
    ended: bool


class EventFeed:
    """All streams of this process. To be used from the event loop's thread only."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._looks: dict[tuple[int, Place], asyncio.Task[Look]] = {}

    async def stream(self, place: Place) -> AsyncIterator[str]:
        """SSE frames of the events after `place`, each once and in order, until the terminal one.

        It also ends when the server stops, the key is revoked or the database is away: the client comes
        back with `Last-Event-ID`, and meets the problem, if it is still there, as an ordinary answer.
        """
        # Neither this nor a keep-alive ends with an empty line: it would make some parsers tell of an
        # event without data.
        yield f"retry: {RETRY_MS}\n"
        with self._doorbell.heard_for(place.job_id) as rung:
            while not self._doorbell.closed:
                # Cleared before looking: a ring during the look makes us look again.
                rung.clear()
                try:
                    look = await self._look(place)
                except DomainError:
                    return
                for frame in look.frames:
                    yield frame
                if look.ended:
                    return
                place = replace(place, after=look.last_seq)
                if not look.frames and not await heard_within(rung, timeout_s=KEEP_ALIVE_S):
                    yield ": keep-alive\n"

    async def _look(self, place: Place) -> Look:
        # A look that began before the latest ring may have missed what was rung for: it is not shared.
        wanted = (self._doorbell.rings, place)
        looking = self._looks.get(wanted)
        if looking is None:
            looking = asyncio.create_task(self._read_in_thread(place))
            self._looks[wanted] = looking
            looking.add_done_callback(partial(self._looked, wanted))
        # Shielded: a client that goes away must not end the look of the others.
        return await asyncio.shield(looking)

    def _looked(self, wanted: tuple[int, Place], looking: asyncio.Task[Look]) -> None:
        del self._looks[wanted]
        if not looking.cancelled():
            # Fetched here in case every client that waited for it has gone away.
            looking.exception()

    async def _read_in_thread(self, place: Place) -> Look:
        return await to_thread.run_sync(_read, place, limiter=self._doorbell.lookers)


def _read(place: Place) -> Look:
    with db.read() as session:
        if not api_keys.is_active(session, place.key_id):
            return Look([], place.after, ended=True)
        # The status comes first: if it is terminal, then every event is already there to be read.
        job = jobs.glimpse(session, project_id=place.project_id, job_id=place.job_id)
        found = events.list_after(
            session,
            job_id=place.job_id,
            after=place.after,
            limit=READ_AT_ONCE,
            types=place.types,
        )
    over = Status(job.status) in TERMINAL and len(found) < READ_AT_ONCE
    return Look(
        frames=[_frame(event) for event in found],
        last_seq=found[-1].seq if found else place.after,
        ended=over or any(event.type in _TERMINAL_TYPES for event in found),
    )


def _frame(event: Event) -> str:
    """One event as an SSE frame. JSON holds no line breaks, so one `data:` line is enough."""
    data = EventShape.of(event).model_dump_json()
    return f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n"
