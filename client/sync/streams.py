# Generated from client/aio/streams.py by `python -m tests.sync_client`. Do not edit.
"""Event streams that go on after a broken connection, without a gap and without a repeat."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent, SSEError

from client.answers import parsed
from client.errors import Busy, UnexpectedAnswer, Unreachable
from client.models import Job
from client.paths import at
from client.retries import backoff, refusal_of, unreachable
from client.sync.basics import Stream, sleep
from client.sync.transport import Transport

# The service sends a comment every 15 s: three missed ones mean a dead connection.
_SILENCE_S = 45.0
_GIVE_UP_S = 180.0
_PASSING = {429, 500, 502, 503, 504}


def follow(
    transport: Transport, path: str, params: Mapping[str, Any], *, last_id: str = ""
) -> Stream[ServerSentEvent]:
    """The messages after the one with `last_id`, as they come, without an end.

    Raises `Unreachable` when no connection could be opened for three minutes, `RequestRefused` for a
    stream that is not there.
    """
    stream = _Stream(transport, path, params, last_id=last_id)
    while True:
        with closing(stream.connection()) as messages:
            yield from messages


def follow_job(
    transport: Transport, job_id: str, path: str, params: Mapping[str, Any]
) -> Stream[ServerSentEvent]:
    """As `follow`, for a stream of that job: it ends when the job has ended and all of it was given."""
    stream = _Stream(transport, path, params)
    over = False
    while True:
        before = stream.last_id
        with closing(stream.connection()) as messages:
            yield from messages
        if over and stream.last_id == before:
            return
        # Asked after a stream was closed, so one more look follows: the end may lie between the two.
        if stream.is_open_again:
            over = _is_over(transport, job_id, stream)


def _is_over(transport: Transport, job_id: str, stream: _Stream) -> bool:
    try:
        response = transport.request("GET", at("/v1/jobs/{}", job_id))
    except (Unreachable, Busy) as error:
        stream.wait_after(error)
        return False
    return parsed(Job, response).terminal


class _Stream:
    """One stream of many connections. `last_id` is the id of the last message that it has given."""

    def __init__(
        self, transport: Transport, path: str, params: Mapping[str, Any], *, last_id: str = ""
    ) -> None:
        self.last_id = last_id
        self._transport, self._path, self._params = transport, path, params
        self._failures, self._failing_since = 0, 0.0

    @property
    def is_open_again(self) -> bool:
        """Whether the latest connection could be opened."""
        return self._failures == 0

    def connection(self) -> Stream[ServerSentEvent]:
        """The messages of one connection until it ends in whatever way.

        One that could not be opened gives none, and ends after a pause.
        """
        try:
            with closing(self._messages()) as messages:
                for message in messages:
                    self.last_id = message.id or self.last_id
                    yield message
        except (httpx.TransportError, _Passing) as error:
            self.wait_after(error)

    def wait_after(self, error: Exception) -> None:
        """Waits before the next connection, or raises when there was none for too long."""
        now = time.monotonic()
        self._failing_since = self._failing_since if self._failures else now
        if now - self._failing_since > _GIVE_UP_S:
            if isinstance(error, httpx.TransportError):
                raise unreachable(self._transport.url, error) from error
            raise Unreachable(f"{self._transport.url} gives no event stream: {error}") from error
        sleep(backoff(self._failures))
        self._failures += 1

    def _messages(self) -> Stream[ServerSentEvent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        http = self._transport.http
        timeout = httpx.Timeout(http.timeout.connect, read=_SILENCE_S)
        with http.stream(
            "GET", self._path, params=self._params, headers=headers, timeout=timeout
        ) as response:
            if response.is_error:
                response.read()
                if response.status_code in _PASSING:
                    raise _Passing(f"it answers with status {response.status_code}")
                raise refusal_of(response)
            self._failures = 0
            try:
                for message in EventSource(response).iter_sse():
                    if message.data:
                        yield message
            except SSEError as error:
                raise UnexpectedAnswer(f"{response.url} is no event stream: {error}") from error


class _Passing(Exception):
    """An answer that may be another one soon."""
