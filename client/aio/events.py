"""What happens to jobs, as it happens: a job's events, its log, and the feed of the whole project."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from client.aio.basics import Stream
from client.aio.calls import Calls
from client.aio.streams import follow, follow_job
from client.answers import message_as
from client.models import Event, FeedPage, LogPart, StreamToken
from client.paths import at


class EventCalls(Calls):
    """Streams. All go on where they were when the connection breaks, and raise `Unreachable` when the
    service stays away for minutes."""

    async def events(
        self, job_id: str, *, after: int = 0, types: Sequence[str] = ()
    ) -> Stream[Event]:
        """The job's events from number `after` + 1 on, as they happen, to the terminal one; with `types`
        only these."""
        last = after
        params = {"after": str(after), "type": list(types)}
        stream = follow_job(self._transport, job_id, at("/v1/jobs/{}/events", job_id), params)
        async with aclosing(stream) as messages:
            async for message in messages:
                event = message_as(Event, message)
                if event.seq > last:
                    last = event.seq
                    yield event
                if event.terminal:
                    return

    async def follow_logs(self, job_id: str, *, attempt: int | None = None) -> Stream[LogPart]:
        """What the trainer writes, as it writes it, to the end of the job."""
        params = {} if attempt is None else {"attempt": str(attempt)}
        stream = follow_job(self._transport, job_id, at("/v1/jobs/{}/logs", job_id), params)
        async with aclosing(stream) as messages:
            async for message in messages:
                yield message_as(LogPart, message)

    async def feed(self, *, after: str | None = None, types: Sequence[str] = ()) -> Stream[Event]:
        """The events of all jobs of the project, as they happen, without an end.

        `after` is the `cursor` of the last event that was seen; without it the feed begins now.
        """
        if after is None:
            # A place, so that nothing is missed should the first connection break before any event.
            after = (await self.feed_page(after="latest", limit=1)).resume_after
        stream = follow(
            self._transport, at("/v1/events"), {"type": list(types)}, last_id=after or ""
        )
        async with aclosing(stream) as messages:
            async for message in messages:
                yield message_as(Event, message).model_copy(update={"cursor": message.id})

    async def feed_page(
        self,
        *,
        after: str | None = None,
        job_id: str | None = None,
        types: Sequence[str] = (),
        limit: int = 100,
    ) -> FeedPage:
        """At most `limit` (up to 1000) events of the project after the place `after`, oldest first."""
        params = {"after": after, "job": job_id, "type": list(types), "limit": limit}
        return await self._get(FeedPage, at("/v1/events"), params=params)

    async def create_stream_token(self, *, job_id: str | None = None) -> StreamToken:
        """A token that opens event streams for some minutes: for a browser's `EventSource`."""
        return await self._post(StreamToken, at("/v1/stream-tokens"), {"job": job_id})
