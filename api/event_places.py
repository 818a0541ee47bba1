"""Where streams of events stand: in one job's, by `seq`, or in all of a project's, by its cursor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from api.event_json import event_json
from api.streams import READ_AT_ONCE, Look
from domain import db, event_feed, events, jobs
from domain.callers import Caller
from domain.job_status import TERMINAL, Status
from domain.verified import still_valid

_TERMINAL_TYPES = frozenset(f"job.{status}" for status in TERMINAL)


@dataclass(frozen=True)
class Watcher:
    """Whose stream it is. Two of the same key or session are the same."""

    caller: Caller = field(compare=False)
    project_id: UUID
    key_id: UUID | None
    session_id: UUID | None

    @staticmethod
    def of(caller: Caller) -> Watcher:
        return Watcher(caller, caller.project_id, caller.key_id, caller.session_id)

    def may_watch(self, session: Session) -> bool:
        """Whether key or session are still good."""
        return still_valid(session, self.caller)


@dataclass(frozen=True)
class JobPlace:
    """After the event number `after` of one job."""

    watcher: Watcher
    job_id: UUID
    after: int
    types: tuple[str, ...]

    @property
    def bell(self) -> UUID:
        return self.job_id

    def look(self) -> Look:
        with db.read() as session:
            if not self.watcher.may_watch(session):
                return Look([], self, ended=True)
            # The status comes first: if it is terminal, then every event is already there to be read.
            job = jobs.glimpse(session, project_id=self.watcher.project_id, job_id=self.job_id)
            found = events.list_after(
                session,
                job_id=self.job_id,
                after=self.after,
                limit=READ_AT_ONCE,
                types=self.types,
                columns=events.SHOWN,
            )
        over = Status(job.status) in TERMINAL and len(found) < READ_AT_ONCE
        return Look(
            frames=[_frame(event, str(event.seq)) for event in found],
            place=replace(self, after=found[-1].seq) if found else self,
            ended=over or any(event.type in _TERMINAL_TYPES for event in found),
        )


@dataclass(frozen=True)
class FeedPlace:
    """After `after` in the events of the watcher's project, or of one of its jobs. It has no end."""

    watcher: Watcher
    job_id: UUID | None
    after: event_feed.Place
    types: tuple[str, ...]

    @property
    def bell(self) -> UUID:
        return self.job_id or self.watcher.project_id

    def look(self) -> Look:
        with db.read() as session:
            if not self.watcher.may_watch(session):
                return Look([], self, ended=True)
            found = event_feed.after(
                session,
                project_id=self.watcher.project_id,
                place=self.after,
                limit=READ_AT_ONCE,
                types=self.types,
                job_id=self.job_id,
            )
        places = [event_feed.Place.of(event) for event in found.events]
        return Look(
            frames=[
                _frame(event, place.cursor)
                for event, place in zip(found.events, places, strict=True)
            ],
            place=replace(self, after=places[-1]) if places else self,
            ended=False,
            held_back=found.held_back,
        )


def _frame(event: Row[Any], id: str) -> str:
    """One event as an SSE frame. JSON holds no line breaks, so one `data:` line is enough."""
    return f"id: {id}\nevent: {event.type}\ndata: {event_json(event)}\n\n"
