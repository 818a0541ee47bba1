"""Events as JSON, written by hand: lists and streams show so many that models would be most of the work.

What is written is what `api.schemas.history` describes; a test holds both together.
"""

from __future__ import annotations

from datetime import UTC
from functools import lru_cache
from json import dumps
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from domain import ids
from domain.events import EventRow


def event_json(event: EventRow | Row[Any]) -> str:
    """An `EventShape` of an `EventRow` or a row with its columns, on one line."""
    at = event.at.astimezone(UTC).isoformat().removesuffix("+00:00")
    return (
        f'{{"id":"{ids.to_public("evt", event.id)}","object":"event",'
        f'"job_id":"{_job(event.job_id)}","seq":{event.seq},'
        f'"type":{_quoted(event.type)},"level":{_quoted(event.level)},"at":"{at}Z",'
        f'"attempt":{event.attempt or "null"},"step":{event.step},'
        f'"message":{dumps(event.message)},"data":{event.data}}}'
    )


# Types and levels are few, and the events of a page are mostly of one job.
_quoted = lru_cache(maxsize=200)(dumps)


@lru_cache(maxsize=200)
def _job(job_id: UUID) -> str:
    return ids.to_public("job", job_id)
