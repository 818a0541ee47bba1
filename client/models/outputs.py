"""What jobs yield: adapters and their files, and videos made with them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from client.models.jobs import JobError, QueuePlace, Verdict
from client.models.shared import Answer, Tagged


class File(Answer):
    """A file to fetch: `url` is valid until `url_expires_at`; `path` is relative to its folder."""

    path: str
    size_bytes: int
    sha256: str
    url: str
    url_expires_at: datetime | None = None


class AdapterFile(Answer):
    """A file of an adapter; `adapter_files` gives links to them."""

    path: str
    size_bytes: int
    sha256: str


class Adapter(Answer):
    """LoRA weights for one base model, from one step of one job. Lists leave out files and lineage."""

    id: str
    name: str = ""
    kind: str
    job_id: str
    checkpoint_id: str | None = None
    step: int
    base_model: str
    method: str = ""
    rank: int | None = None
    rewards: list[str] = []
    verdict: Verdict | None = None
    aliases: list[str] = []
    size_bytes: int
    files: list[AdapterFile] = []
    lineage: dict[str, JsonValue] | None = None
    created_at: datetime
    deleted_at: datetime | None = None


class Alias(Tagged):
    """A name that means one adapter of the project, until it is moved to another."""

    name: str
    adapter_id: str
    updated_at: datetime


class VideoScore(Answer):
    """A video's score by one reward, or the reason why it has none."""

    reward: str
    score: float | None = None
    reason: JsonValue = None


class GeneratedFile(Answer):
    """A stored file. `url` expires; it is None for a key without `artifacts:read`, and once removed."""

    url: str | None = None
    url_expires_at: datetime | None = None
    sha256: str
    size_bytes: int


class GeneratedVideo(GeneratedFile):
    """One mp4; those of both roles with one seed differ in nothing but the adapter."""

    role: Literal["base", "adapter"]
    seed: int
    scores: list[VideoScore] = []


class Generation(Answer):
    """Videos of one prompt; `outputs` is empty until it has succeeded."""

    id: str
    status: str
    terminal: bool
    allowed_actions: list[str] = []
    adapter_id: str | None = None
    base_model: str
    spec: dict[str, JsonValue] = {}
    queue: QueuePlace | None = None
    outputs: list[GeneratedVideo] = []
    sheet: GeneratedFile | None = None
    seconds: float | None = None
    error: JobError | None = None
    created_at: datetime
    files_expire_at: datetime | None = None
    files_removed_at: datetime | None = None
    deleted_at: datetime | None = None

    @property
    def prompt(self) -> str:
        """What the videos are to show."""
        return str(self.spec.get("prompt", ""))
