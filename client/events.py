"""A job's event stream that goes on after a broken connection, without a gap and without a repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
from httpx_sse import EventSource, SSEError
from pydantic import ValidationError

from client.errors import UnexpectedAnswer, Unreachable, refusal
from client.models import Event
from client.transport import Transport, backoff, problem_of, unreachable

# The service sends a comment every 15 s: three missed ones mean a dead connection.
_SILENCE_S = 45.0
_GIVE_UP_S = 180.0
_PASSING = {429, 500, 502, 503, 504}


def follow(
    transport: Transport, job_id: str, *, after: int, is_over: Callable[[], bool]
) -> Iterator[Event]:
    """Events with a number above `after`, in order, up to the terminal one.

    `is_over` tells whether the job has ended: asked when the service closes a stream without a terminal
    event, which it does for a reader that has seen that event already. Raises `Unreachable` when no
    stream could be opened for three minutes, `RequestRefused` for a job that is not there.
    """
    reader = _Reader(transport, job_id, after=after)
    over = False
    while True:
        before = reader.last
        try:
            for event in reader.read():
                yield event
                if event.terminal:
                    return
            if over and reader.last == before:
                return
            # Asked after the stream closed, so one more look follows: the end may lie between the two.
            over = is_over()
        except (httpx.TransportError, _Passing, Unreachable) as error:
            reader.wait_after(error)


class _Passing(Exception):
    """An answer that may be another one soon."""


class _Reader:
    """The state that outlives a connection: the last number seen, and how long none could be opened."""

    def __init__(self, transport: Transport, job_id: str, *, after: int) -> None:
        self.last = after
        self._transport, self._path = transport, f"/v1/jobs/{job_id}/events"
        self._failures, self._failing_since = 0, time.monotonic()

    def wait_after(self, error: Exception) -> None:
        """Waits before the next connection, or raises when there was none for too long."""
        if self._failures == 0:
            self._failing_since = time.monotonic()
        elif time.monotonic() - self._failing_since > _GIVE_UP_S:
            raise _given_up(self._transport.url, error) from error
        time.sleep(backoff(self._failures))
        self._failures += 1

    def read(self) -> Iterator[Event]:
        """The new events of one connection. Raises `_Passing` and `httpx.TransportError`."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.last:
            headers["Last-Event-ID"] = str(self.last)
        http = self._transport.http
        timeout = httpx.Timeout(http.timeout.connect, read=_SILENCE_S)
        with http.stream("GET", self._path, headers=headers, timeout=timeout) as response:
            if response.status_code in _PASSING:
                raise _Passing(f"it answers with status {response.status_code}")
            if not response.is_success:
                response.read()
                raise refusal(problem_of(response))
            self._failures = 0
            for event in _parsed(response):
                if event.seq > self.last:
                    self.last = event.seq
                    yield event


def _parsed(response: httpx.Response) -> Iterator[Event]:
    try:
        for message in EventSource(response).iter_sse():
            if message.data:
                yield Event.model_validate_json(message.data)
    except (SSEError, ValidationError) as error:
        raise UnexpectedAnswer(
            f"{response.url} sent something else than events: {error}"
        ) from error


def _given_up(url: str, error: Exception) -> Exception:
    if isinstance(error, httpx.TransportError):
        return unreachable(url, error)
    return Unreachable(f"{url} gives no event stream: {error}")
