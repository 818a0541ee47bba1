"""What every request gets: an id, a trace id, a line in the access log and the headers that go with them."""

from __future__ import annotations

import logging
import re
import secrets
import time
import uuid
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.measured import Measured
from domain import audit, db
from domain.rate_limits import WINDOW_S, Standing

access_logger = logging.getLogger("api.access")

_GIVEN_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


class RequestContext:
    """Puts `request_id` and `trace_id` on `request.state` and `X-Request-Id` on the response.

    A well-formed `X-Request-Id` of the caller is kept, as is the trace of a W3C `traceparent`. Where
    requests were counted (`request.state.rate_limits`), the response says what is left. Every request is
    counted in `measured`, too.
    """

    def __init__(self, app: ASGIApp, *, measured: Measured) -> None:
        self.app, self._measured = app, measured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A connection's next request may begin in the context of the one before it.
        db.tenant.set(None)
        given = dict(scope["headers"])
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(given.get(b"x-request-id", b""))
        state["trace_id"] = _trace_id(given.get(b"traceparent", b""))
        address = scope["client"][0] if scope.get("client") else None
        audit.current_request.set(audit.Request(request_id, address))
        started = time.perf_counter()
        status, began_s = 500, None

        async def send_with_headers(message: Message) -> None:
            nonlocal status, began_s
            if message["type"] == "http.response.start":
                status, began_s = message["status"], time.perf_counter() - started
                _complete(message, state)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            took_s = time.perf_counter() - started
            # A stream lasts as long as somebody listens: how long it took is until it began.
            self._measured.count(scope, status=status, seconds=began_s or took_s)
            # The path alone: query strings hold the signatures of links. Polls that find nothing new are many.
            access_logger.log(
                logging.DEBUG if status == HTTPStatus.NOT_MODIFIED else logging.INFO,
                "%s %r %d %.1f ms %s",
                scope["method"],
                scope["path"],
                status,
                took_s * 1000,
                request_id,
            )


def _complete(message: Message, state: dict[str, Any]) -> None:
    """Adds the headers that every response has, where it has none of its own."""
    headers = message["headers"]
    present = {name for name, _ in headers}
    for name, value in (
        (b"x-request-id", state["request_id"].encode()),
        (b"x-content-type-options", b"nosniff"),
        # Answers depend on the key, so no shared cache may keep them; ETags still work.
        (b"cache-control", b"private, no-cache"),
    ):
        if name not in present:
            headers.append((name, value))
    standings: list[Standing] = state.get("rate_limits", [])
    if standings:
        limits = ", ".join(f'"{s.policy.name}";q={s.policy.quota};w={WINDOW_S}' for s in standings)
        left = ", ".join(f'"{s.policy.name}";r={s.remaining};t={s.resets_in_s}' for s in standings)
        headers.append((b"ratelimit-policy", limits.encode()))
        headers.append((b"ratelimit", left.encode()))


def _request_id(given: bytes) -> str:
    return given.decode() if _GIVEN_ID.fullmatch(given) else "req_" + uuid.uuid4().hex


def _trace_id(traceparent: bytes) -> str:
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found and found[1].strip(b"0"):
        return found[1].decode()
    return secrets.token_hex(16)
