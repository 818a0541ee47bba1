"""Prompt sets: named, versioned, immutable lists of prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.prompt_report import PromptReport
from domain.prompt_sets import PlacedPrompt, Side
from domain.tables import PromptSet
from vader_core.prompts import prompt_id
from vader_core.spec import Prompt


class PromptSetRequest(Shape):
    """A new prompt set; a `name` that exists gets a new version."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=10_000)]


class PromptSetSummary(Shape):
    """A version of a prompt set without its prompts. `training` and `heldout` count the sides of the split
    at the held-out fraction that jobs have by default."""

    id: str
    object: Literal["prompt_set"] = "prompt_set"
    name: str
    version: int
    size: int
    training: int
    heldout: int
    targets: list[str] = Field(description="All labels that the prompts carry.")
    sha256: str = Field(description="Of the prompts: two versions that agree in it hold the same.")
    prompts_url: str
    created_at: At

    @staticmethod
    def of(row: PromptSet) -> PromptSetSummary:
        return PromptSetSummary.model_validate(_fields(row))


class PromptSetShape(PromptSetSummary):
    """A version of a prompt set, with what was found in it when it was made."""

    report: PromptReport

    @staticmethod
    def whole(row: PromptSet) -> PromptSetShape:
        return PromptSetShape.model_validate({**_fields(row), "report": row.report})


class PromptSetPage(Page[PromptSetSummary]):
    """Prompt sets, newest first."""


class PromptSetValidation(Shape):
    """What would become of a prompt set; nothing was stored."""

    object: Literal["prompt_set_validation"] = "prompt_set_validation"
    valid: Literal[True] = True
    name: str
    report: PromptReport


class PromptShape(Shape):
    """One prompt of a set. `id` is the same in every set and job; `heldout` is its own mark, if it has
    one, and `side` the side that it is on."""

    id: str
    index: int
    prompt: str
    target: str | None
    heldout: bool | None
    image: str | None
    side: Side

    @staticmethod
    def of(placed: PlacedPrompt) -> PromptShape:
        return PromptShape(
            id=prompt_id(placed.prompt),
            index=placed.index,
            side=placed.side,
            **placed.prompt.model_dump(),
        )


class PromptPage(Page[PromptShape]):
    """Prompts of a set, in its order."""


def _fields(row: PromptSet) -> dict[str, object]:
    public_id = ids.to_public("ps", row.id)
    return {
        "id": public_id,
        "name": row.name,
        "version": row.version,
        "size": row.size,
        **{name: row.report[name] for name in ("training", "heldout", "targets")},
        "sha256": row.sha256,
        "prompts_url": f"/v1/prompt-sets/{public_id}/prompts",
        "created_at": row.created_at,
    }
