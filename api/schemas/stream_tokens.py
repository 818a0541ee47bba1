"""Stream tokens as clients ask for them and see them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.shared import At, Shape
from vader_core.strict import Strict


class StreamTokenRequest(Strict):
    """What the token is to open."""

    job: str | None = Field(
        default=None, description="Only this job's streams; null: all of the project's."
    )


class StreamTokenShape(Shape):
    """A token for live streams."""

    object: Literal["stream_token"] = "stream_token"
    token: str | None = Field(description="Shown this once: null where the request is repeated.")
    job: str | None
    expires_at: At
