"""Prompt sets: named, versioned, immutable lists of prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.tables import PromptSet
from vader_core.prompts import split
from vader_core.spec import Prompt, Prompts

DEFAULT_HELDOUT_FRACTION: float = Prompts.model_fields["heldout_fraction"].default


class PromptSetRequest(Shape):
    """A new prompt set; a `name` that exists gets a new version."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=10_000)]


class PromptSetSummary(Shape):
    """A prompt set without its prompts. `training` and `heldout` count the sides of the split at the
    held-out fraction that jobs have by default."""

    id: str
    object: Literal["prompt_set"] = "prompt_set"
    name: str
    version: int
    size: int
    training: int
    heldout: int
    targets: list[str] = Field(description="All labels that the prompts carry.")
    sha256: str
    created_at: At


class PromptSetShape(PromptSetSummary):
    """A prompt set."""

    prompts: list[Prompt]


class PromptSetPage(Page[PromptSetSummary]):
    """Prompt sets, newest first."""


def summary(row: PromptSet) -> PromptSetSummary:
    return PromptSetSummary.model_validate(_fields(row, prompts_of(row)))


def whole(row: PromptSet) -> PromptSetShape:
    prompts = prompts_of(row)
    return PromptSetShape.model_validate({**_fields(row, prompts), "prompts": prompts})


def prompts_of(row: PromptSet) -> list[Prompt]:
    return [Prompt.model_validate(item) for item in row.items]


def _fields(row: PromptSet, prompts: list[Prompt]) -> dict[str, object]:
    training, heldout = split(prompts, DEFAULT_HELDOUT_FRACTION)
    return {
        "id": ids.to_public("ps", row.id),
        "name": row.name,
        "version": row.version,
        "size": len(prompts),
        "training": len(training),
        "heldout": len(heldout),
        "targets": sorted({prompt.target for prompt in prompts if prompt.target is not None}),
        "sha256": row.sha256,
        "created_at": row.created_at,
    }
