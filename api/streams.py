"""Live streams (Server-Sent Events): of a job's events, of a project's, of whatever has a `Place`.

The table is the truth, the doorbell only says when to look: an event reaches the stream even when its
notification was lost, at the next keep-alive. A stream holds no database connection between looks, and
streams that stand at the same place share one look.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from uuid import UUID

from anyio import to_thread
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.doorbell import Doorbell, heard_within
from domain.errors import DomainError, RateLimited, Unavailable

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE_S = 15.0
RETRY_MS = 3000
READ_AT_ONCE = 200
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0


class Place(Hashable, Protocol):
    """Where a stream stands. Equal places see the same."""

    @property
    def bell(self) -> UUID:
        """Of what the doorbell rings when there may be more to see."""

    def look(self) -> Look:
        """What there is after this place; called in a thread. A `DomainError` ends the stream."""


@dataclass(frozen=True)
class Look:
    """What one look into the table found, and the place after it.

    `ended`: nothing will ever come after these frames. `held_back`: more is there but cannot be shown yet,
    and no ring will tell when it can.
    """

    frames: Sequence[str]
    place: Place
    ended: bool
    held_back: bool = False


class _Streaming(StreamingResponse):
    """A stream that is counted for as long as it is sent."""

    def __init__(self, frames: AsyncIterator[str], counted: AbstractContextManager[None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, media_type=MEDIA_TYPE, headers=headers)
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._counted:
            await super().__call__(scope, receive, send)


class EventFeed:
    """All streams of this process: at most `most` at once, and `most_of_project` of one project.

    To be used from the event loop's thread only.
    """

    def __init__(self, doorbell: Doorbell, *, most: int, most_of_project: int) -> None:
        self._doorbell = doorbell
        self._most, self._most_of_project = most, most_of_project
        self._open: Counter[UUID] = Counter()
        self._looks: dict[tuple[int, Place], asyncio.Task[Look]] = {}

    def open_streams(self) -> int:
        """How many streams are open now. From any thread."""
        return self._open.copy().total()

    def answer(self, place: Place, *, project_id: UUID) -> StreamingResponse:
        """The response that streams what comes after `place`. Raises `RateLimited` where the project has
        as many streams open as it may, `Unavailable` where this process has."""
        if self._open[project_id] >= self._most_of_project:
            raise RateLimited(
                f"The project may keep {self._most_of_project} streams open here: close one.",
                policy="streams",
                retry_after_s=int(KEEP_ALIVE_S),
            )
        if self._open.total() >= self._most:
            raise Unavailable("As many streams are open here as there may be.")
        return _Streaming(self.stream(place), self._counted(project_id))

    @contextmanager
    def _counted(self, project_id: UUID) -> Iterator[None]:
        self._open[project_id] += 1
        try:
            yield
        finally:
            self._open[project_id] -= 1
            if not self._open[project_id]:
                del self._open[project_id]

    async def stream(self, place: Place) -> AsyncIterator[str]:
        """SSE frames of what comes after `place`, each once and in order, until its end.

        It also ends when the server stops, the caller loses access or the database is away: the client
        comes back with `Last-Event-ID`, and meets the problem, if it is still there, as an ordinary answer.
        """
        # Neither this nor a keep-alive ends with an empty line: it would make some parsers tell of an
        # event without data.
        yield f"retry: {RETRY_MS}\n"
        sent_at, pause_s = time.monotonic(), FIRST_PAUSE_S
        with self._doorbell.heard_for(place.bell) as rung:
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
                place = look.place
                if look.frames:
                    sent_at, pause_s = time.monotonic(), FIRST_PAUSE_S
                elif look.held_back:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                else:
                    await heard_within(rung, timeout_s=KEEP_ALIVE_S)
                    pause_s = FIRST_PAUSE_S
                if time.monotonic() - sent_at >= KEEP_ALIVE_S:
                    sent_at = time.monotonic()
                    yield ": keep-alive\n"

    async def _look(self, place: Place) -> Look:
        # A look that began before the latest ring may have missed what was rung for: it is not shared.
        wanted = (self._doorbell.rings, place)
        looking = self._looks.get(wanted)
        if looking is None:
            looking = asyncio.create_task(self._look_in_thread(place))
            self._looks[wanted] = looking
            looking.add_done_callback(partial(self._looked, wanted))
        # Shielded: a client that goes away must not end the look of the others.
        return await asyncio.shield(looking)

    def _looked(self, wanted: tuple[int, Place], looking: asyncio.Task[Look]) -> None:
        del self._looks[wanted]
        if not looking.cancelled():
            # Fetched here in case every client that waited for it has gone away.
            looking.exception()

    async def _look_in_thread(self, place: Place) -> Look:
        return await to_thread.run_sync(place.look, limiter=self._doorbell.lookers)
