"""Pages of a list: keyset cursors on (created_at, id), newest first unless told otherwise.

A cursor is opaque to clients. It carries a hash of what the list was filtered by, so that it cannot be
carried over to another list.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
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


_MOST = 2**31 - 1
"""The greatest number that Postgres keeps as an integer."""
RowT = TypeVar("RowT", bound=Row)
ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Page(Generic[ItemT]):
    """Some rows; `next_cursor` leads to those after them, None at the end."""

    items: list[ItemT]
    next_cursor: str | None


def page(  # noqa: PLR0913 (what a page of a list takes)
    session: Session,
    query: Select[RowT],
    *,
    keys: tuple[InstrumentedAttribute[datetime], InstrumentedAttribute[UUID]],
    filtered_by: str,
    cursor: str | None,
    limit: int,
    oldest_first: bool = False,
) -> Page[RowT]:
    """The `limit` rows of `query` after `cursor`. `filtered_by` names list, filters and order.

    Raises `InvalidCursor` for a cursor that this list did not give.
    """
    if cursor is not None:
        here, place = tuple_(*keys), tuple_(*place_of(cursor, filtered_by))
        query = query.where(here > place if oldest_first else here < place)
    order = keys if oldest_first else tuple(key.desc() for key in keys)
    ordered = query.order_by(*order).limit(limit + 1)
    rows = list(session.scalars(ordered))
    return cut(rows, limit, filtered_by=filtered_by, place=lambda row: (row.created_at, row.id))


def cut(
    rows: Sequence[ItemT],
    limit: int,
    *,
    filtered_by: str,
    place: Callable[[ItemT], tuple[datetime, UUID]],
) -> Page[ItemT]:
    """The page of the first `limit` of `rows`, of which there is one more where there is a next page."""
    items = list(rows[:limit])
    if len(rows) <= limit:
        return Page(items, None)
    at, row_id = place(items[-1])
    return Page(items, encoded([at.isoformat(), str(row_id)], filtered_by))


def encoded(place: list[str | int], filtered_by: str) -> str:
    """The cursor that leads to `place` in the list that `filtered_by` names."""
    fields = [*place, _digest(filtered_by)]
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def decoded(cursor: str, filtered_by: str) -> list[Any]:
    """The place that `cursor` leads to. Raises `InvalidCursor`, also for a cursor of another list."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        fields: list[Any] = json.loads(base64.urlsafe_b64decode(padded.encode()))
        *place, digest = fields
    except (ValueError, TypeError, RecursionError):
        raise _no_cursor() from None
    if digest != _digest(filtered_by):
        raise InvalidCursor("This cursor belongs to a list with other filters.")
    return place


def number_of(cursor: str, filtered_by: str) -> int:
    """The number, from 0 to 2**31 - 1, that is the place of `cursor`. Raises `InvalidCursor`."""
    match decoded(cursor, filtered_by):
        case [int(number)] if not isinstance(number, bool) and 0 <= number <= _MOST:
            return number
    raise _no_cursor()


def place_of(cursor: str, filtered_by: str) -> tuple[datetime, UUID]:
    """The age and id after which the page of `cursor` begins. Raises `InvalidCursor`."""
    try:
        at, row_id = decoded(cursor, filtered_by)
        place = datetime.fromisoformat(at), UUID(row_id)
    except (ValueError, TypeError, AttributeError):
        raise _no_cursor() from None
    if place[0].tzinfo is None:
        raise _no_cursor()
    return place


def _no_cursor() -> InvalidCursor:
    return InvalidCursor("This is no cursor that the service gave.")


def _digest(filtered_by: str) -> str:
    return hashlib.sha256(filtered_by.encode()).hexdigest()[:16]
