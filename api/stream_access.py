"""Who opens a live stream: an API key, a signed-in member, or a stream token in the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPBearer

from api import access
from api.deps import KEY_DESCRIPTION, current_caller, refuse_unsound
from domain import callers, db, stream_tokens
from domain.errors import InvalidStreamToken
from domain.stream_tokens import Grant

EVENT_STREAM = "text/event-stream"


def wants_stream(request: Request) -> bool:
    """Whether the client accepts a live stream."""
    return EVENT_STREAM in request.headers.get("accept", "")


class _StreamGuard(HTTPBearer):
    """What guards a route that can stream: who asks, and for which job's streams alone, if so."""

    async def __call__(  # type: ignore[override]
        self,
        request: Request,
        token: Annotated[
            str | None,
            Query(
                max_length=2000,
                description="Instead of an API key, for the stream alone: from POST /v1/stream-tokens.",
            ),
        ] = None,
    ) -> Grant:
        """Raises `InvalidStreamToken`, also where no stream is asked for, and as a polled route's guard."""
        if token is None:
            grant = Grant(await current_caller(request), job_id=None)
        else:
            grant = await _opened(request, token)
        refuse_unsound(request, request.scope["route"].query_names)
        callers.require(grant.caller, "jobs:read")
        return grant


async def _opened(request: Request, token: str) -> Grant:
    if not wants_stream(request):
        raise InvalidStreamToken(f"A stream token opens streams alone: Accept: {EVENT_STREAM}.")
    grant = stream_tokens.verify(token)
    db.tenant.set(grant.caller.project_id)
    await access.count(request, grant.caller)
    return grant


StreamReader = Annotated[
    Grant, Depends(_StreamGuard(scheme_name="HTTPBearer", description=KEY_DESCRIPTION))
]
