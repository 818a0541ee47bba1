"""Events that are written by hand are what their models say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from api.event_json import event_json
from api.paging import page_text
from api.schemas.history import EventPage, EventShape, FeedPage
from domain import ids

DATA = {"text": 'quotes " and \n breaks, größe \u2028', "numbers": [1, 2.5e-7, None, True]}


def row(**changes: Any) -> Any:
    """A row as the domain gives it to those who show it."""
    fields = {
        "id": ids.new_id(),
        "job_id": ids.new_id(),
        "seq": 7,
        "type": 'job."odd"',
        "level": "warning",
        "at": datetime(2026, 11, 23, 19, 40, 31, 123456, tzinfo=UTC),
        "attempt": 2,
        "step": 3,
        "message": 'It said "no".\nThen \\ nothing.',
        "data": json.dumps(DATA),
    }
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attempt": 0},
        {"data": "{}", "message": ""},
        {"at": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
    ],
)
def test_an_event_is_written_as_its_model_would_write_it(changes: dict[str, Any]) -> None:
    event = row(**changes)
    written = event_json(event)
    shape = EventShape.model_validate_json(written)
    assert json.loads(written) == shape.model_dump(mode="json")
    assert (shape.message, shape.data) == (event.message, json.loads(event.data))
    assert shape.attempt == (event.attempt or None)
    assert shape.at == event.at
    assert "\n" not in written


def test_pages_are_too() -> None:
    events = [row(), row(seq=8)]
    last = EventPage.model_validate_json(page_text(map(event_json, events), next_cursor=None))
    assert [event.seq for event in last.data] == [7, 8]
    assert not last.has_more
    page = FeedPage.model_validate_json(page_text([], next_cursor="a", resume_after="b"))
    assert (page.data, page.next_cursor, page.has_more, page.resume_after) == ([], "a", True, "b")
