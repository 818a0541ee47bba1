"""Parts that several resources share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Item = TypeVar("Item")

At = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A moment, shown as RFC 3339 in UTC whatever the time zone of the database session is."""


class Shape(BaseModel):
    """Something that is sent to clients."""

    model_config = ConfigDict(extra="forbid")


class Page(Shape, Generic[Item]):
    """A part of a list. `next_cursor` is there as long as `has_more`."""

    data: list[Item]
    next_cursor: str | None = Field(
        description="Opaque: give it back as `cursor`, filters unchanged."
    )
    has_more: bool


class FileLink(Shape):
    """A stored file. `url` needs no API key and works until `url_expires_at`; ask again for a new one."""

    path: str
    size_bytes: int
    sha256: str
    url: str
    url_expires_at: At
