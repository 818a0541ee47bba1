"""Logs of attempts: pieces in the database while one runs, one stored file when it is over.

An attempt whose worker was lost never stores its file; its pieces stay, and are all that is left of it.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain import events, jobs
from domain.errors import NotFound
from domain.log_table import LogChunk
from domain.tables import Attempt

KEPT_BYTES = 2**20
"""How much of a running attempt's log is kept: the newest."""


def append(session: Session, *, job_id: UUID, attempt: int, start: int, body: bytes) -> None:
    """Adds what the attempt logged from its byte `start` on. Told twice, it counts once.

    Raises `StaleAttempt`.
    """
    jobs.held(session, job_id=job_id, attempt=attempt)
    piece = insert(LogChunk).values(job_id=job_id, attempt=attempt, start=start, body=body)
    session.execute(piece.on_conflict_do_nothing())
    session.execute(
        delete(LogChunk).where(
            *_of(job_id, attempt), LogChunk.start < start + len(body) - KEPT_BYTES
        )
    )
    events.announce(session, job_id)


def forget(session: Session, *, job_id: UUID, attempt: int) -> None:
    """Drops the pieces of an attempt whose whole log is stored."""
    session.execute(delete(LogChunk).where(*_of(job_id, attempt)))


def forget_job(session: Session, *, job_id: UUID) -> None:
    """Drops the pieces of all attempts of a job whose files are removed."""
    session.execute(delete(LogChunk).where(LogChunk.job_id == job_id))


def after(
    session: Session, *, job_id: UUID, attempt: int, offset: int = 0, limit: int | None = None
) -> list[LogChunk]:
    """The pieces of the attempt's log that begin at byte `offset` or later, in order; the first `limit`."""
    query = select(LogChunk).where(*_of(job_id, attempt), LogChunk.start >= offset)
    return list(session.scalars(query.order_by(LogChunk.start).limit(limit)))


def attempt_of(session: Session, *, job_id: UUID, number: int | None) -> Attempt | None:
    """The job's attempt of this number, or its newest; None where it has had none yet.

    Raises `NotFound` for a number that no attempt has.
    """
    query = select(Attempt).where(Attempt.job_id == job_id)
    if number is not None:
        query = query.where(Attempt.number == number)
    found = session.scalar(query.order_by(Attempt.number.desc()).limit(1))
    if found is None and number is not None:
        raise NotFound(f"The job has no attempt {number}.")
    return found


def next_attempt(session: Session, *, job_id: UUID, number: int) -> Attempt | None:
    """The first attempt after the one of this number."""
    query = select(Attempt).where(Attempt.job_id == job_id, Attempt.number > number)
    return session.scalar(query.order_by(Attempt.number).limit(1))


def _of(job_id: UUID, attempt: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return LogChunk.job_id == job_id, LogChunk.attempt == attempt
