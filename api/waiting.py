"""Conditional and waiting reads of a job: `ETag`, `If-None-Match`, `Prefer: wait=N`."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

from anyio import to_thread
from fastapi import Header
from sqlalchemy.orm import Session

from api.deps import CallerDep, DoorbellDep
from api.doorbell import heard_within
from domain import db, ids, jobs
from domain.job_status import TERMINAL, Status
from domain.tables import Job

IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="The `ETag` of the answer you have.")
]

MAX_WAIT_S = 60
# A lost notification delays a waiting request by no more than this.
LOOK_EVERY_S = 5.0
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])")


def etag(session: Session, job: Job) -> str:
    """A weak tag of the job as it is: heartbeats and clock-driven figures change without it."""
    position = jobs.queue_position(session, job)
    return f'W/"{job.version}"' if position is None else f'W/"{job.version}-{position}"'


def etag_matches(if_none_match: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names `tag` (weak comparison, RFC 9110)."""
    given = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return "*" in given or tag.removeprefix("W/") in given


async def wait_if_asked(
    job_id: str,
    caller: CallerDep,
    doorbell: DoorbellDep,
    prefer: Annotated[
        str | None,
        Header(
            alias="Prefer",
            description="`wait=N`: answer when the job has ended (or, with If-None-Match, has changed), "
            "at the latest after N seconds, at most 60.",
        ),
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> int | None:
    """Holds the request back as `Prefer: wait=N` asks; the seconds that were granted, or None."""
    asked = _WAIT.search(prefer or "")
    if asked is None:
        return None
    seconds = min(int(asked[1]), MAX_WAIT_S)
    job_uuid = ids.from_public("job", job_id)
    ends = asyncio.get_running_loop().time() + seconds

    def worth_answering() -> bool:
        with db.read() as session:
            job = jobs.glimpse(session, project_id=caller.project_id, job_id=job_uuid)
            if Status(job.status) in TERMINAL:
                return True
            tag = etag(session, job)
        return if_none_match is not None and not etag_matches(if_none_match, tag)

    with doorbell.heard_for(job_uuid) as rung:
        while not doorbell.closed:
            rung.clear()
            if await to_thread.run_sync(worth_answering, limiter=doorbell.lookers):
                break
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await heard_within(rung, timeout_s=min(left, LOOK_EVERY_S))
    return seconds
