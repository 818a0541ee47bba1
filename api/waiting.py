"""Conditional and waiting reads of jobs, scorings and generations: `ETag`, `If-None-Match`, `Prefer: wait=N`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from uuid import UUID

from anyio import to_thread
from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, DoorbellDep
from api.doorbell import Doorbell, heard_within
from domain import db, ids

IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="The `ETag` of the answer you have.")
]

IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        description="The `ETag` of the job as you read it, or `*`. A job's progress does not make it stale, "
        "only somebody else's change of what may be changed here.",
    ),
]

MAX_WAIT_S = 60
# A lost notification delays a waiting request by no more than this.
LOOK_EVERY_S = 5.0
_REVISION = re.compile(r'"r(\d{1,18})-v\d+(?:-p\d+-[a-z_]+)?"')
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])")


def etag_matches(if_none_match: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names `tag` (weak comparison, RFC 9110)."""
    given = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return "*" in given or tag.removeprefix("W/") in given


def seen_revisions(if_match: str) -> frozenset[int] | None:
    """The revisions of a job that `If-Match` names by tags of this service; None for `*`, any."""
    if "*" in [part.strip() for part in if_match.split(",")]:
        return None
    return frozenset(int(found) for found in _REVISION.findall(if_match))


Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer when it has ended (or, with If-None-Match, has changed), "
        "at the latest after N seconds, at most 60.",
    ),
]


class Pollable(Protocol):
    """A shape that says when to ask again; None: never."""

    poll_after_s: int | None

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Glance:
    """As little of a thing as waiting for it takes: the tag of how it is, and whether it has ended."""

    tag: str
    ended: bool


Glimpse = Callable[[Session, UUID, UUID], Glance]
"""The glance at a row, given (session, project_id, row_id). Raises `NotFound`."""


def waits_for(
    parameter: str, prefix: ids.Prefix, glimpse: Glimpse
) -> Callable[..., Awaitable[int | None]]:
    """A dependency that holds a read back as `Prefer: wait=N` asks.

    It gives the seconds that were granted, or None. `parameter` is the path's, an id with `prefix`.
    """

    async def wait_if_asked(
        request: Request,
        caller: CallerDep,
        doorbell: DoorbellDep,
        prefer: Prefer = None,
        if_none_match: IfNoneMatch = None,
    ) -> int | None:
        row_id = ids.from_public(prefix, request.path_params[parameter])

        def look() -> Glance:
            with db.read() as session:
                return glimpse(session, caller.project_id, row_id)

        return await waited(doorbell, row_id, look, prefer=prefer, if_none_match=if_none_match)

    return wait_if_asked


async def waited(
    doorbell: Doorbell,
    row_id: UUID,
    look: Callable[[], Glance],
    *,
    prefer: str | None,
    if_none_match: str | None = None,
) -> int | None:
    """Holds the answer back as `prefer` asks: until it has ended, or is not as `if_none_match` knows it.

    The seconds that were granted, or None where it was not asked for.
    """
    seconds = _granted(prefer)
    if seconds is None:
        return None

    def worth_answering() -> bool:
        seen = look()
        return seen.ended or (
            if_none_match is not None and not etag_matches(if_none_match, seen.tag)
        )

    await _hold_back(doorbell, row_id, seconds, worth_answering)
    return seconds


def answered(
    glance: Glance,
    shown: Callable[[], Pollable],
    *,
    waited_s: int | None,
    if_none_match: str | None,
) -> Response:
    """A read's answer: 304 where the client has it, else the body with its `ETag` and when to ask again."""
    headers = {"ETag": glance.tag}
    if waited_s is not None:
        headers["Preference-Applied"] = f"wait={waited_s}"
    if etag_matches(if_none_match, glance.tag):
        return Response(status_code=304, headers=headers)
    shape = shown()
    if shape.poll_after_s is not None:
        headers["Retry-After"] = str(shape.poll_after_s)
    return JSONResponse(shape.model_dump(mode="json"), headers=headers)


def _granted(prefer: str | None) -> int | None:
    asked = _WAIT.search(prefer or "")
    return None if asked is None else min(int(asked[1]), MAX_WAIT_S)


async def _hold_back(
    doorbell: Doorbell, row_id: UUID, seconds: int, worth_answering: Callable[[], bool]
) -> None:
    """Returns once `worth_answering()`, at the latest after `seconds`, and when the server stops."""
    ends = asyncio.get_running_loop().time() + seconds
    with doorbell.heard_for(row_id) as rung:
        while not doorbell.closed:
            rung.clear()
            if await to_thread.run_sync(worth_answering, limiter=doorbell.lookers):
                break
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await heard_within(rung, timeout_s=min(left, LOOK_EVERY_S))
