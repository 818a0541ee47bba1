"""Adapters as clients see them: entries of the registry with files, lineage and aliases."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.shared import At, FileLink, Page, Shape
from domain.adapter_registry import ALIAS
from vader_core.lines import Verdict


class AdapterFile(Shape):
    """A file of an adapter; `url` needs the API key and redirects to a link that expires."""

    path: str
    size_bytes: int
    sha256: str
    url: str


class AdapterEvaluation(Shape):
    """How the adapter did on the held-out prompts, beside the base model on the same."""

    kind: Literal["periodic", "final"]
    verdict: Verdict | None
    heldout_reward: float
    baseline_heldout_reward: float
    delta: float | None
    delta_ci95: tuple[float, float] | None


class AdapterSummary(Shape):
    """An adapter: LoRA weights for one base model, from one step of one job."""

    id: str
    object: Literal["adapter"] = "adapter"
    name: str = Field(description="That of the job.")
    kind: Literal["final", "promoted"] = Field(
        description="What the job ended with, or a checkpoint that somebody promoted."
    )
    job_id: str
    checkpoint_id: str | None = Field(description="Of a promoted one.")
    step: int
    attempt: int
    base_model: str
    method: str
    rank: int
    alpha: float
    rewards: list[str]
    verdict: Verdict | None
    evaluation: AdapterEvaluation | None = Field(description="Null where it was not evaluated.")
    aliases: list[str]
    size_bytes: int
    created_at: At
    deleted_at: At | None = Field(description="Since when its files are gone.")


class Ancestor(Shape):
    """A job that the one before it in the list came from: what it started from, and how."""

    job_id: str
    relation: Literal["retry", "extend", "init_from"]
    start: Literal["adapter", "checkpoint"] | None
    start_id: str | None
    step: int | None
    state: Literal["weights", "full"] | None


class Lineage(Shape):
    """Where the adapter comes from, in enough detail to make it again."""

    base_model: str
    variant: str | None
    job_id: str
    spec_hash: str
    step: int
    attempt: int
    method: str
    rewards: list[str]
    guards: list[str]
    prompt_set: str | None = Field(description="With its version; null for inline prompts.")
    template: str | None
    seed: int
    evaluation_seeds: list[int]
    code_version: str | None = Field(description="The version of the service that trained it.")
    versions: dict[str, str] = Field(description="Of the packages that trained it.")
    ancestors: list[Ancestor] = Field(description="The nearest first.")


class AdapterShape(AdapterSummary):
    """One adapter with its files in PEFT's and other formats, each with its sha256, and its lineage."""

    files: list[AdapterFile]
    lineage: Lineage


class AdapterPage(Page[AdapterSummary]):
    """Adapters, newest first."""


class FilePage(Page[FileLink]):
    """All files."""


class AliasShape(Shape):
    """A name that points at one adapter of the project, and may be moved to another."""

    object: Literal["adapter_alias"] = "adapter_alias"
    name: str = Field(pattern=ALIAS)
    adapter_id: str
    version: int = Field(description="Grows with every move; the `ETag` follows it.")
    created_at: At
    updated_at: At


class AliasPage(Page[AliasShape]):
    """All aliases of the project by name."""
