"""Who opens a live stream: an API key, a signed-in member, or a stream token in the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.security import HTTPAuthorizationCredentials

from api import access
from api.deps import bearer_scheme, cookie_scheme
from domain import callers, db, stream_tokens
from domain.errors import InvalidStreamToken
from domain.stream_tokens import Grant

EVENT_STREAM = "text/event-stream"


def wants_stream(request: Request) -> bool:
    """Whether the client accepts a live stream."""
    return EVENT_STREAM in request.headers.get("accept", "")


async def stream_grant(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)],
    cookie: Annotated[str | None, Depends(cookie_scheme)],
    token: Annotated[
        str | None,
        Query(
            max_length=2000,
            description="Instead of an API key, for the stream alone: from POST /v1/stream-tokens.",
        ),
    ] = None,
) -> Grant:
    """Who asks, and for which job's streams alone, if so.

    Raises `InvalidStreamToken`, also where no stream is asked for, and as `api.access.identify`.
    """
    if token is None:
        key = None if bearer is None else bearer.credentials
        return Grant(await access.identify(request, bearer=key, cookie=cookie), job_id=None)
    if not wants_stream(request):
        raise InvalidStreamToken(f"A stream token opens streams alone: Accept: {EVENT_STREAM}.")
    grant = stream_tokens.verify(token)
    db.tenant.set(grant.caller.project_id)
    await access.count(request, grant.caller)
    return grant


StreamGrantDep = Annotated[Grant, Depends(stream_grant)]


async def may_read_jobs(grant: StreamGrantDep) -> None:
    """Raises `MissingScope` unless whoever asks may read jobs."""
    callers.require(grant.caller, "jobs:read")
