"""What a job leaves behind while it runs: events, curves, attempts, checkpoints, samples, evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from client.models.jobs import Evaluation, Verdict
from client.models.shared import Answer, Page


class Event(Answer):
    """One numbered line of a job's history; types not known here may come."""

    id: str = ""
    job_id: str
    seq: int
    type: str
    level: str = "info"
    at: datetime
    attempt: int | None = None
    step: int | None = None
    message: str = ""
    data: dict[str, JsonValue] = {}
    cursor: str | None = None
    """In the project's feed: its place, from which `feed(after=...)` goes on."""

    @property
    def terminal(self) -> bool:
        """Whether nothing comes after this event."""
        return self.type in {"job.succeeded", "job.failed", "job.cancelled"}


class FeedPage(Page[Event]):
    """A part of the project's feed; `resume_after` is the place after it."""

    resume_after: str | None = None


class LogPart(Answer):
    """A piece of what the trainer wrote; `offset` counts bytes from the attempt's beginning."""

    attempt: int
    offset: int
    text: str


class Curve(Answer):
    """One metric over the chosen axis, by step."""

    key: str
    x: list[float]
    y: list[float | None]
    total: int | None = None
    downsampled: bool = False


class Metrics(Answer):
    """The curves of a job."""

    job_id: str = ""
    x: str
    series: list[Curve]


class Evaluations(Answer):
    """All evaluations of a job, oldest first; `final` is the one that its verdict stands on."""

    job_id: str = ""
    verdict: Verdict | None = None
    final: Evaluation | None = None
    rounds: list[Evaluation] = []


class AttemptRecord(Answer):
    """One try of one worker; `outcome` None while it runs."""

    number: int
    hardware: str = ""
    code_version: str | None = None
    started_at: datetime
    last_heartbeat_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    error: dict[str, JsonValue] | None = None
    resumed_from_step: int | None = None
    last_step: int = 0


class CheckpointFile(Answer):
    """A file of a checkpoint; it cannot be downloaded."""

    path: str
    size_bytes: int
    sha256: str


class Checkpoint(Answer):
    """A stored state of the training; `expired_at` when its files were given up. Lists leave out files."""

    id: str
    job_id: str = ""
    step: int
    attempt: int = 1
    size_bytes: int = 0
    created_at: datetime
    expired_at: datetime | None = None
    files: list[CheckpointFile] = []


class Sample(Answer):
    """A kept video of a held-out prompt and seed; base and adapter of one `pair` belong together."""

    id: str
    role: Literal["base", "adapter"]
    pair: str
    step: int
    prompt: str
    prompt_id: str = ""
    seed: int
    score: float
    size_bytes: int
    sha256: str
    url: str | None
    """None for who lacks the scope `artifacts:read`."""
