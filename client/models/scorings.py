"""Uploads, and rewards tried on videos."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from client.models.jobs import JobError
from client.models.shared import Answer


class Upload(Answer):
    """An uploaded image or video."""

    id: str
    name: str
    medium: Literal["image", "video"]
    content_type: str
    size_bytes: int
    sha256: str
    created_at: datetime


class Reason(Answer):
    """Why a video has no score."""

    code: str
    message: str = ""


class ScoredVideo(Answer):
    """A video of a scoring; `score` None has a `reason` once the scoring has ended."""

    upload: str | None = None
    sample: str | None = None
    prompt: str
    target: str | None = None
    score: float | None = None
    reason: Reason | None = None


class ScoredReward(Answer):
    """The reward that was tried."""

    name: str
    title: str = ""
    per: Literal["frame", "video", "group"]
    range: tuple[float | None, float | None]


class Scoring(Answer):
    """A reward tried on a few videos; `scores` are those of `videos`, None until it has succeeded."""

    id: str
    status: Literal["queued", "running", "succeeded", "failed"]
    terminal: bool
    reward: ScoredReward
    videos: list[ScoredVideo]
    scores: list[float | None] | None = None
    seconds: float | None = None
    error: JobError | None = None
    created_at: datetime
