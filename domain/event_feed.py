"""All events of a project as one list that never skips one, however late its transaction commits.

Transactions end in another order than they begin in, so neither a time nor a running number says where a
reader may go on: what commits late would stand before the reader's place. Here the order is that of the
writing transactions' numbers (`Event.xact`), and only what is older than every transaction that still
runs is shown. Where a job's later event was written by a transaction that began earlier, it carries the
greater number of the two, so the order within a job is that of `seq`.

The numbers are those of one database cluster: places do not survive a dump and restore into another.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Text,
    cast,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from domain.errors import InvalidCursor
from domain.events import SHOWN
from domain.tables import Event

LATEST = "latest"
"""Stands for the place after everything that can be shown now."""
_HORIZON = cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)
_MAX = 2**63 - 1


@dataclass(frozen=True)
class Place:
    """Where a reader stands: after the event `seq` of the job, written by `xact`."""

    xact: int
    job_id: UUID
    seq: int

    @property
    def cursor(self) -> str:
        """As clients see it."""
        packed = self.xact.to_bytes(8) + self.job_id.bytes + self.seq.to_bytes(8)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @staticmethod
    def of(event: Row[Any]) -> Place:
        return Place(event.xact, event.job_id, event.seq)

    @staticmethod
    def from_cursor(cursor: str) -> Place:
        """Raises `InvalidCursor` for a text that is no place."""
        try:
            packed = base64.b64decode(f"{cursor}=".encode(), altchars=b"-_", validate=True)
        except ValueError:
            packed = b""
        place = Place(
            int.from_bytes(packed[:8]),
            UUID(bytes=packed[8:24].ljust(16)),
            int.from_bytes(packed[24:]),
        )
        if len(packed) != 32 or max(place.xact, place.seq) > _MAX:
            raise InvalidCursor("This is no place in the events that the service gave.")
        return place


START = Place(0, UUID(int=0), 0)


@dataclass(frozen=True)
class Found:
    """Rows of `domain.events.SHOWN` and `xact`, in the feed's order. `held_back`: there are more that cannot be
    shown yet."""

    events: Sequence[Row[Any]]
    held_back: bool


def after(
    session: Session,
    *,
    project_id: UUID,
    place: Place,
    limit: int,
    types: Sequence[str] = (),
    job_id: UUID | None = None,
) -> Found:
    """The project's first `limit` events after `place`, of the given types and job or of all."""
    wanted = select(*SHOWN, Event.xact).where(Event.project_id == project_id, _beyond(place))
    if job_id is not None:
        wanted = wanted.where(Event.job_id == job_id)
    # An index has each type's events in order; what it finds is then merged.
    parts = [wanted.where(Event.type == name) for name in sorted(set(types))] or [wanted]
    merged = parts[0] if len(parts) == 1 else _merged(parts, limit)
    # Rows and horizon are of one statement, and therefore of one snapshot.
    settled = (merged.selected_columns.xact < _HORIZON).label("settled")
    found = session.execute(_first(merged.add_columns(settled), limit)).all()
    shown = [row for row in found if row.settled]
    return Found(shown, held_back=len(shown) < len(found))


def latest(session: Session) -> Place:
    """The place after everything that can be shown now."""
    horizon = session.scalars(select(_HORIZON)).one()
    return Place(horizon - 1, UUID(int=2**128 - 1), _MAX)


def _beyond(place: Place) -> ColumnElement[bool]:
    return tuple_(Event.xact, Event.job_id, Event.seq) > tuple_(
        literal(place.xact), literal(place.job_id), literal(place.seq)
    )


def _merged(parts: Sequence[Select[Any]], limit: int) -> Select[Any]:
    firsts = (select(_first(part, limit).subquery()) for part in parts)
    return select(union_all(*firsts).subquery())


def _first(query: Select[Any], limit: int) -> Select[Any]:
    columns = query.selected_columns
    return query.order_by(columns.xact, columns.job_id, columns.seq).limit(limit)
