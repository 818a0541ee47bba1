"""Conditional and waiting reads of jobs and scorings: `ETag`, `If-None-Match`, `Prefer: wait=N`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from anyio import to_thread
from fastapi import Header
from sqlalchemy.orm import Session

from api.deps import CallerDep, DoorbellDep
from api.doorbell import Doorbell, heard_within
from domain import db, ids, jobs, scorings
from domain.job_status import TERMINAL, Status
from domain.scoring_table import TERMINAL as SCORED
from domain.scoring_table import Scoring, ScoringStatus
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


Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        description="`wait=N`: answer when it has ended (or, with If-None-Match, has changed), "
        "at the latest after N seconds, at most 60.",
    ),
]


def scoring_etag(scoring: Scoring) -> str:
    """A weak tag of the scoring as it is."""
    return f'W/"{scoring.version}"'


async def wait_if_asked(
    job_id: str,
    caller: CallerDep,
    doorbell: DoorbellDep,
    prefer: Prefer = None,
    if_none_match: IfNoneMatch = None,
) -> int | None:
    """Holds a read of a job back as `Prefer: wait=N` asks; the seconds that were granted, or None."""
    seconds = _granted(prefer)
    if seconds is None:
        return None
    job_uuid = ids.from_public("job", job_id)

    def worth_answering() -> bool:
        with db.read() as session:
            job = jobs.glimpse(session, project_id=caller.project_id, job_id=job_uuid)
            if Status(job.status) in TERMINAL:
                return True
            tag = etag(session, job)
        return if_none_match is not None and not etag_matches(if_none_match, tag)

    await _hold_back(doorbell, job_uuid, seconds, worth_answering)
    return seconds


async def wait_for_scoring(
    scoring_id: str,
    caller: CallerDep,
    doorbell: DoorbellDep,
    prefer: Prefer = None,
    if_none_match: IfNoneMatch = None,
) -> int | None:
    """As `wait_if_asked`, for a read of a scoring."""
    seconds = _granted(prefer)
    if seconds is None:
        return None
    scoring_uuid = ids.from_public("scr", scoring_id)

    def worth_answering() -> bool:
        with db.read() as session:
            found = scorings.get(session, project_id=caller.project_id, scoring_id=scoring_uuid)
        changed = if_none_match is not None and not etag_matches(if_none_match, scoring_etag(found))
        return ScoringStatus(found.status) in SCORED or changed

    await _hold_back(doorbell, scoring_uuid, seconds, worth_answering)
    return seconds


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
