"""What every request gets: an id, a trace id, an access log line and the headers that go with them."""

from __future__ import annotations

import logging
import re
import secrets
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_logger = logging.getLogger("api.access")

_GIVEN_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


class RequestContext:
    """Puts `request_id` and `trace_id` on `request.state` and `X-Request-Id` on the response.

    A well-formed `X-Request-Id` of the caller is kept, as is the trace of a W3C `traceparent`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(headers)
        state["trace_id"] = _trace_id(headers)
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = MutableHeaders(scope=message)
                given.setdefault("X-Request-Id", state["request_id"])
                given.setdefault("X-Content-Type-Options", "nosniff")
                # Answers depend on the key, so no shared cache may keep them; ETags still work.
                given.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            # The path alone: query strings hold the signatures of links.
            access_logger.info(
                "%s %r %d %.1f ms %s",
                scope["method"],
                scope["path"],
                status,
                (time.perf_counter() - started) * 1000,
                state["request_id"],
            )


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _GIVEN_ID.fullmatch(given) else "req_" + uuid.uuid4().hex


def _trace_id(headers: Headers) -> str:
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    if found and found[1].strip("0"):
        return found[1]
    return secrets.token_hex(16)
