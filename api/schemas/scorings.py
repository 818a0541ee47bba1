"""Scorings: rewards tried on a few videos, as clients ask for them and see them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from api.schemas.shared import At, Shape
from domain import ids
from domain.scoring_table import TERMINAL, Scoring, ScoringStatus
from vader_core.failure import Failure
from vader_core.scoring import Unscored, VideoAsked

MAX_VIDEOS = 8
_POLL_AFTER_S = 2


class VideoToScore(VideoAsked):
    """An uploaded video or a job's kept sample, and what it shows as a prompt would say it."""

    upload: str | None = None
    sample: str | None = None

    @model_validator(mode="after")
    def _exactly_one_video(self) -> VideoToScore:
        if (self.upload is None) == (self.sample is None):
            raise ValueError("give exactly one of `upload` and `sample`")
        return self


class ScoringRequest(Shape):
    """Which videos to score, and the reward's parameters."""

    videos: Annotated[list[VideoToScore], Field(min_length=1, max_length=MAX_VIDEOS)]
    params: dict[str, JsonValue] = {}


class ScoringReward(Shape):
    """The reward as it was when it was asked for."""

    id: str
    version: str
    name: str
    title: str
    per: Literal["frame", "video", "group"]
    direction: Literal["higher_is_better"] = "higher_is_better"
    range: tuple[float | None, float | None]


class ScoredVideo(Shape):
    """One video with its score; `reason` says why it has none."""

    upload: str | None
    sample: str | None
    prompt: str
    target: str | None
    score: float | None
    reason: Unscored | None


class ScoringLinks(Shape):
    """Paths of what belongs to the scoring."""

    self: str


class ScoringShape(Shape):
    """A reward tried on videos. It ends `succeeded` also where some videos could not be scored."""

    id: str
    object: Literal["scoring"] = "scoring"
    status: ScoringStatus
    terminal: bool = Field(description="True: nothing about it will change any more.")
    reward: ScoringReward
    params: dict[str, JsonValue]
    videos: list[ScoredVideo]
    scores: list[float | None] | None = Field(
        description="Those of `videos`, in their order; null until it has succeeded."
    )
    seconds: float | None = Field(description="What the scorer took, loading included.")
    device: str | None
    error: Failure | None
    attempt: int
    trace_id: str
    created_at: At
    started_at: At | None
    finished_at: At | None
    version: int = Field(description="Grows with every change; the ETag is made of it.")
    poll_after_s: int | None = Field(description="When to ask again; null once terminal.")
    links: ScoringLinks

    @staticmethod
    def of(row: Scoring) -> ScoringShape:
        public_id = ids.to_public("scr", row.id)
        terminal = ScoringStatus(row.status) in TERMINAL
        result = row.result or {}
        scored = result.get("scores", [{"score": None, "reason": None}] * len(row.videos))
        same = ("status", "reward", "params", "error", "attempt", "trace_id", "version")
        times = ("created_at", "started_at", "finished_at")
        shown = ("upload", "sample", "prompt", "target")
        return ScoringShape.model_validate(
            {
                "id": public_id,
                "terminal": terminal,
                "videos": [
                    {name: video[name] for name in shown} | score
                    for video, score in zip(row.videos, scored, strict=True)
                ],
                "scores": None if row.result is None else [one["score"] for one in scored],
                "seconds": result.get("seconds"),
                "device": result.get("device"),
                "poll_after_s": None if terminal else _POLL_AFTER_S,
                "links": {"self": f"/v1/scorings/{public_id}"},
                **{name: getattr(row, name) for name in (*same, *times)},
            }
        )
