"""Where streams of logs stand: at a byte of an attempt's log, and on to the next attempt's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from uuid import UUID

from sqlalchemy.orm import Session

from api.event_places import Watcher
from api.streams import READ_AT_ONCE, Look
from domain import db, jobs, log_text, logs
from domain.job_status import TERMINAL, Status
from domain.store import ObjectStore
from domain.tables import Attempt

Piece = tuple[int, bytes]


@dataclass(frozen=True)
class LogPlace:
    """Before byte `offset` of the log of attempt `attempt`; 0 stands for the first one there will be.

    `only`: the stream ends with this attempt. Otherwise it goes on with the next ones, until the job is over.
    """

    watcher: Watcher
    job_id: UUID
    attempt: int
    offset: int
    only: bool
    store: ObjectStore = field(compare=False, repr=False)

    @property
    def bell(self) -> UUID:
        return self.job_id

    def look(self) -> Look:
        place = self
        while True:
            # The attempt's row is read before the pieces: if it says that the attempt is over, all are there.
            with db.read() as session:
                if not place.watcher.may_watch(session):
                    return Look([], place, ended=True)
                job = jobs.glimpse(
                    session, project_id=place.watcher.project_id, job_id=place.job_id
                )
                over = Status(job.status) in TERMINAL
                row = place._row(session)
                pieces = [] if row is None else _pieces(session, row, place.offset)
                following = logs.next_attempt(
                    session,
                    job_id=place.job_id,
                    number=place.attempt if row is None else row.number,
                )
            if row is None or job.deleted_at is not None:
                return Look([], place, ended=over)
            place = replace(place, attempt=row.number)
            if row.log is not None:
                found = log_text.stored_from(place.store, row, place.offset)
                pieces = [(place.offset, found)] if found else []
            if pieces:
                frames = [_frame(row.number, start, body) for start, body in pieces]
                start, body = pieces[-1]
                return Look(frames, replace(place, offset=start + len(body)), ended=False)
            if row.ended_at is None:
                return Look([], place, ended=False)
            if place.only or following is None:
                return Look([], place, ended=place.only or over)
            place = replace(place, attempt=following.number, offset=0)

    def _row(self, session: Session) -> Attempt | None:
        if self.attempt == 0:
            return logs.next_attempt(session, job_id=self.job_id, number=0)
        return logs.attempt_of(session, job_id=self.job_id, number=self.attempt)


def _pieces(session: Session, row: Attempt, offset: int) -> list[Piece]:
    found = logs.after(
        session, job_id=row.job_id, attempt=row.number, offset=offset, limit=READ_AT_ONCE
    )
    return [(piece.start, piece.body) for piece in found]


def _frame(attempt: int, offset: int, body: bytes) -> str:
    """A piece as an SSE frame. JSON holds no line breaks, so one `data:` line is enough."""
    text = body.decode("utf-8", errors="replace")
    data = json.dumps({"attempt": attempt, "offset": offset, "text": text}, ensure_ascii=False)
    return f"id: {attempt}-{offset + len(body)}\nevent: log\ndata: {data}\n\n"
