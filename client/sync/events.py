# Generated from client/aio/events.py by `python -m tests.sync_client`. Do not edit.
"""What happens to jobs, as it happens: a job's events, its log, and the feed of the whole project."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from client.answers import message_as
from client.models import Event, FeedPage, LogPart, StreamToken
from client.paths import at
from client.sync.basics import Stream
from client.sync.calls import Calls
from client.sync.streams import follow, follow_job


class EventCalls(Calls):
    """Streams. All go on where they were when the connection breaks, and raise `Unreachable` when the
    service stays away for minutes."""

    def events(self, job_id: str, *, after: int = 0, types: Sequence[str] = ()) -> Stream[Event]:
        """The job's events from number `after` + 1 on, as they happen, to the terminal one; with `types`
        only these."""
        last = after
        params = {"after": str(after), "type": list(types)}
        stream = follow_job(self._transport, job_id, at("/v1/jobs/{}/events", job_id), params)
        with closing(stream) as messages:
            for message in messages:
                event = message_as(Event, message)
                if event.seq > last:
                    last = event.seq
                    yield event
                if event.terminal:
                    return

    def follow_logs(self, job_id: str, *, attempt: int | None = None) -> Stream[LogPart]:
        """What the trainer writes, as it writes it, to the end of the job."""
        params = {} if attempt is None else {"attempt": str(attempt)}
        stream = follow_job(self._transport, job_id, at("/v1/jobs/{}/logs", job_id), params)
        with closing(stream) as messages:
            for message in messages:
                yield message_as(LogPart, message)

    def feed(self, *, after: str | None = None, types: Sequence[str] = ()) -> Stream[Event]:
        """The events of all jobs of the project, as they happen, without an end.

        `after` is the `cursor` of the last event that was seen; without it the feed begins now.
        """
        if after is None:
            # A place, so that nothing is missed should the first connection break before any event.
            after = (self.feed_page(after="latest", limit=1)).resume_after
        stream = follow(
            self._transport, at("/v1/events"), {"type": list(types)}, last_id=after or ""
        )
        with closing(stream) as messages:
            for message in messages:
                yield message_as(Event, message).model_copy(update={"cursor": message.id})

    def feed_page(
        self,
        *,
        after: str | None = None,
        job_id: str | None = None,
        types: Sequence[str] = (),
        limit: int = 100,
    ) -> FeedPage:
        """At most `limit` (up to 1000) events of the project after the place `after`, oldest first."""
        params = {"after": after, "job": job_id, "type": list(types), "limit": limit}
        return self._get(FeedPage, at("/v1/events"), params=params)

    def create_stream_token(self, *, job_id: str | None = None) -> StreamToken:
        """A token that opens event streams for some minutes: for a browser's `EventSource`."""
        return self._post(StreamToken, at("/v1/stream-tokens"), {"job": job_id})
