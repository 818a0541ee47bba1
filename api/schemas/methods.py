"""Methods as clients see them: what each needs and which settings it takes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from api.schemas.shared import Page, Shape
from vader_core.method_catalogue import MethodRow


class MethodShape(Shape):
    """A way to train an adapter; its `id` is what a spec's `method.type` says."""

    id: str
    object: Literal["method"] = "method"
    title: str
    summary: str
    needs_differentiable_reward: bool = Field(
        description="False: black-box rewards can be trained on, too."
    )
    settings_schema: dict[str, JsonValue] = Field(
        description="JSON Schema of a spec's `method`, with every default."
    )
    paper: str

    @staticmethod
    def of(row: MethodRow) -> MethodShape:
        return MethodShape(
            id=row.id,
            title=row.title,
            summary=row.summary,
            needs_differentiable_reward=row.needs_gradient,
            settings_schema=row.settings_schema(),
            paper=row.paper,
        )


class MethodPage(Page[MethodShape]):
    """All methods."""
