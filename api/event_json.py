"""Events as JSON, written by hand: lists and streams show so many that models would be most of the work.

What is written is what `api.schemas.history` describes; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from json import dumps
from typing import Any

from sqlalchemy import Row

from domain import ids


def event_json(event: Row[Any]) -> str:
    """An `EventShape` of a row with `domain.events.SHOWN`, on one line."""
    at = event.at.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (
        f'{{"id":"{ids.to_public("evt", event.id)}","object":"event",'
        f'"job_id":"{ids.to_public("job", event.job_id)}","seq":{event.seq},'
        f'"type":{dumps(event.type)},"level":{dumps(event.level)},"at":"{at}Z",'
        f'"attempt":{event.attempt or "null"},"step":{event.step},'
        f'"message":{dumps(event.message)},"data":{event.data}}}'
    )


def page_json(events: Sequence[Row[Any]], *, next_cursor: str | None, **more: str) -> str:
    """An `EventPage`, with `more` fields."""
    data = ",".join(map(event_json, events))
    rest = {"next_cursor": next_cursor, "has_more": next_cursor is not None, **more}
    return f'{{"data":[{data}],{dumps(rest)[1:]}'
