"""What a job makes: sample videos, checkpoints, the adapter and its files."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.links import Link
from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.tables import Checkpoint, Sample


class SampleShape(Shape):
    """A video of a held-out prompt and a fixed seed; base and adapter of one `pair` differ in nothing
    but the adapter."""

    id: str
    object: Literal["sample"] = "sample"
    job_id: str
    pair: str
    role: Literal["base", "adapter"]
    step: int
    attempt: int
    prompt_id: str
    prompt: str
    seed: int
    score: float
    size_bytes: int
    sha256: str
    url: str | None = Field(
        description="The mp4; needs no API key, works until `url_expires_at`. Null for who lacks the scope "
        "`artifacts:read`."
    )
    url_expires_at: At | None
    video_url: str = Field(description="The same video; needs the API key, never expires.")
    created_at: At

    @staticmethod
    def of(row: Sample, link: Link | None) -> SampleShape:
        public_id = ids.to_public("smp", row.id)
        same = ("pair", "role", "step", "attempt", "prompt_id", "prompt", "seed", "score")
        stored = ("size_bytes", "sha256", "created_at")
        return SampleShape.model_validate(
            {
                "id": public_id,
                "job_id": ids.to_public("job", row.job_id),
                "url": None if link is None else link.url,
                "url_expires_at": None if link is None else link.expires_at,
                "video_url": f"/v1/samples/{public_id}/video",
                **{name: getattr(row, name) for name in (*same, *stored)},
            }
        )


def sample_filename(row: Sample) -> str:
    """What the video is called when it is saved."""
    return f"{row.pair}-{row.role}-step{row.step}.mp4"


class SamplePage(Page[SampleShape]):
    """Samples by step, pair and role."""


class CheckpointShape(Shape):
    """A stored state of the training from which an attempt can go on exactly."""

    id: str
    object: Literal["checkpoint"] = "checkpoint"
    job_id: str
    step: int
    attempt: int
    size_bytes: int
    created_at: At
    expired_at: At | None = Field(description="When its files were given up for newer ones.")

    @staticmethod
    def of(row: Checkpoint) -> CheckpointShape:
        return CheckpointShape(
            id=ids.to_public("ck", row.id),
            job_id=ids.to_public("job", row.job_id),
            step=row.step,
            attempt=row.attempt,
            size_bytes=row.size_bytes,
            created_at=row.created_at,
            expired_at=row.expired_at,
        )


class CheckpointFile(Shape):
    """A file of a checkpoint. They cannot be downloaded: attempts and jobs start from them."""

    path: str
    size_bytes: int
    sha256: str


class CheckpointDetail(CheckpointShape):
    """A checkpoint with its files, whether they are still kept or not."""

    files: list[CheckpointFile]

    @staticmethod
    def whole(row: Checkpoint) -> CheckpointDetail:
        return CheckpointDetail.model_validate(
            {**CheckpointShape.of(row).model_dump(), "files": row.files}
        )


class CheckpointPage(Page[CheckpointShape]):
    """Checkpoints, newest first."""
