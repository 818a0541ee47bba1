"""Generations: videos made on demand, as clients see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from api.links import Link
from api.schemas.jobs import CreatedBy
from api.schemas.shared import At, Page, Shape
from domain import generations, ids
from domain.generation_table import TERMINAL, Generation, GenerationStatus
from vader_core.failure import Failure
from vader_core.generating import GenerationSpec, OutputScore, Role

_POLL_AFTER_S = 2
WaitReason = Literal["no_free_gpu", "quota"]
LinkOf = Callable[[str, str], Link]
"""A link to the object with this key, to be saved under this name."""


class GenerationQueue(Shape):
    """Where a queued generation stands among those of its project, which takes turns with the others;
    position 1 is next."""

    position: int
    reason: WaitReason = Field(
        description="What it waits for: a generator, or the next month, the project's GPU-seconds being used up."
    )
    expires_at: At


class GenerationFile(Shape):
    """A stored file. `url` needs no API key and works until `url_expires_at`; it is null for a key without
    the scope `artifacts:read`, and once the files are removed."""

    url: str | None
    url_expires_at: At | None
    sha256: str
    size_bytes: int


class GenerationOutput(GenerationFile):
    """One mp4. The videos of both roles with one seed differ in nothing but the adapter."""

    role: Role
    seed: int
    scores: list[OutputScore] = Field(description="In the order of `spec.score_with`.")


class GenerationLinks(Shape):
    """Paths of what belongs to the generation."""

    self: str
    cancel: str
    adapter: str | None


class GenerationShape(Shape):
    """Videos of one prompt."""

    id: str
    object: Literal["generation"] = "generation"
    status: GenerationStatus
    terminal: bool = Field(description="True: its status will not change any more.")
    allowed_actions: list[Literal["cancel", "delete"]]
    adapter_id: str | None = Field(description="What `spec.adapter` meant when it was asked for.")
    base_model: str
    spec: GenerationSpec = Field(description="As it was asked for, with every default filled in.")
    queue: GenerationQueue | None = Field(description="Only while it is queued.")
    outputs: list[GenerationOutput] = Field(description="Empty until it has succeeded.")
    sheet: GenerationFile | None = Field(
        description="A PNG of base over adapter, seed by seed; with `compare_with_base` only."
    )
    device: str | None
    precision: str | None
    seconds: float | None = Field(description="What the generator took, loading included.")
    gpu_seconds: float = Field(description="For how long attempts held a device.")
    error: Failure | None
    attempt: int
    created_by: CreatedBy | None
    trace_id: str
    created_at: At
    started_at: At | None
    finished_at: At | None
    files_expire_at: At | None = Field(
        description="When the files are removed; null until it ends."
    )
    files_removed_at: At | None
    deleted_at: At | None
    version: int = Field(description="Grows with every change; the ETag is made of it.")
    poll_after_s: int | None = Field(description="When to ask again; null once terminal.")
    links: GenerationLinks

    @staticmethod
    def of(
        row: Generation,
        *,
        queue: GenerationQueue | None,
        created_by: CreatedBy | None,
        link_of: LinkOf | None,
    ) -> GenerationShape:
        """`link_of` None shows no links to files."""
        public_id = ids.to_public("gen", row.id)
        path = f"/v1/generations/{public_id}"
        terminal = GenerationStatus(row.status) in TERMINAL
        adapter_id = None if row.adapter_id is None else ids.to_public("ad", row.adapter_id)
        same = ("status", "base_model", "spec", "gpu_seconds", "error", "attempt", "trace_id")
        times = ("created_at", "started_at", "finished_at", "files_removed_at", "deleted_at")
        result = row.result or {}
        return GenerationShape.model_validate(
            {
                "id": public_id,
                "terminal": terminal,
                "allowed_actions": generations.allowed_actions(row),
                "adapter_id": adapter_id,
                "queue": queue,
                "created_by": created_by,
                **_files(row, public_id, link_of),
                **{name: result.get(name) for name in ("device", "precision", "seconds")},
                "files_expire_at": generations.expires_at(row),
                "poll_after_s": None if terminal else _POLL_AFTER_S,
                "links": {
                    "self": path,
                    "cancel": f"{path}/cancel",
                    "adapter": None if adapter_id is None else f"/v1/adapters/{adapter_id}",
                },
                **{name: getattr(row, name) for name in (*same, *times, "version")},
            }
        )


class GenerationPage(Page[GenerationShape]):
    """Generations, newest first."""


def _files(row: Generation, public_id: str, link_of: LinkOf | None) -> dict[str, Any]:
    """The outputs and the sheet."""
    if row.result is None:
        return {"outputs": [], "sheet": None}
    gone = row.deleted_at is not None or row.files_removed_at is not None

    def shown(file: dict[str, Any], name: str) -> dict[str, Any]:
        key = f"{generations.attempt_prefix(row.id, row.attempt)}/{file['path']}"
        link = None if link_of is None or gone else link_of(key, name)
        return {
            "url": None if link is None else link.url,
            "url_expires_at": None if link is None else link.expires_at,
            "sha256": file["sha256"],
            "size_bytes": file["size_bytes"],
        }

    outputs = [
        {
            **{name: video[name] for name in ("role", "seed", "scores")},
            **shown(video["file"], f"{public_id}-{video['role']}-s{video['seed']}.mp4"),
        }
        for video in row.result["videos"]
    ]
    sheet = row.result["sheet"]
    return {
        "outputs": outputs,
        "sheet": None if sheet is None else shown(sheet, f"{public_id}-sheet.png"),
    }
