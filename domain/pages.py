"""Pages of a list: keyset cursors on (created_at, id), newest first.

A cursor is opaque to clients. It carries a hash of what the list was filtered by, so that it cannot be
carried over to another list.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from domain.errors import InvalidCursor


class Row(Protocol):
    """What a table needs for being paged."""

    id: Any
    created_at: Any


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """Some rows; `next_cursor` leads to those after them, None at the end."""

    items: list[RowT]
    next_cursor: str | None


def page(
    session: Session,
    query: Select[RowT],
    *,
    keys: tuple[InstrumentedAttribute[datetime], InstrumentedAttribute[UUID]],
    filtered_by: str,
    cursor: str | None,
    limit: int,
) -> Page[RowT]:
    """The `limit` rows of `query` after `cursor`. `filtered_by` names list and filters.

    Raises `InvalidCursor` for a cursor that this list did not give.
    """
    if cursor is not None:
        query = query.where(tuple_(*keys) < tuple_(*_decoded(cursor, filtered_by)))
    ordered = query.order_by(*(key.desc() for key in keys)).limit(limit + 1)
    rows = list(session.scalars(ordered))
    more = len(rows) > limit
    items = rows[:limit]
    return Page(items, _encoded(items[-1], filtered_by) if more else None)


def _encoded(row: Row, filtered_by: str) -> str:
    fields = [row.created_at.isoformat(), str(row.id), _digest(filtered_by)]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def _decoded(cursor: str, filtered_by: str) -> tuple[datetime, UUID]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        at, row_id, digest = json.loads(base64.urlsafe_b64decode(padded.encode()))
        place = datetime.fromisoformat(at), UUID(row_id)
    except (ValueError, TypeError, AttributeError):
        raise InvalidCursor("This is no cursor that the service gave.") from None
    if digest != _digest(filtered_by) or place[0].tzinfo is None:
        raise InvalidCursor("This cursor belongs to a list with other filters.")
    return place


def _digest(filtered_by: str) -> str:
    return hashlib.sha256(filtered_by.encode()).hexdigest()[:16]
