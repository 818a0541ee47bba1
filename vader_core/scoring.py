"""Trying a reward on a few videos: what is asked, what comes out, and every fault at once. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import Field, JsonValue

from vader_core.catalogue import RewardRow
from vader_core.failure import Answer
from vader_core.faults import Fault
from vader_core.reward_faults import param_faults, target_fault
from vader_core.row_faults import missing_weights
from vader_core.strict import Strict


class VideoAsked(Strict):
    """What a video shows, as a prompt would say it. `target` is for rewards that need one."""

    prompt: str = Field(min_length=1, max_length=2000, pattern=r"\S")
    target: str | None = Field(default=None, min_length=1, max_length=200)


class VideoFile(VideoAsked):
    """A video to score; `file` is relative to the request's folder, unless it is absolute."""

    file: str = Field(min_length=1)


class ScoreRequest(Strict):
    """Which reward to try on which videos."""

    reward: str
    params: dict[str, JsonValue] = {}
    videos: list[VideoFile] = Field(min_length=1)


class Unscored(Strict):
    """Why a video has no score."""

    code: str
    message: str


class VideoScore(Strict):
    """The score of a video, or the reason why it has none."""

    score: float | None
    reason: Unscored | None = None


class ScoreResult(Strict):
    """The scores of the request's videos, in their order. `seconds` are wall seconds, loading included."""

    reward: str
    scores: list[VideoScore]
    device: str
    seconds: float


class ScoreOutput(Answer[ScoreResult]):
    """What the command `score` writes."""


def scoring_faults(
    row: RewardRow, params: Mapping[str, JsonValue], videos: Mapping[int, VideoAsked]
) -> list[Fault]:
    """What is wrong with trying `row` with `params` on `videos`, by their place in the request."""
    faults = [*missing_weights(row, "reward", ""), *param_faults(params, row, "/params")]
    if row.needs_reference:
        detail = f"{row.id} compares videos with the base model's own, which only evaluations have."
        faults.append(Fault(pointer="", code="needs_reference", detail=detail))
    of_prompt = Counter(video.prompt for video in videos.values())
    for i, video in videos.items():
        pointer = f"/videos/{i}/target"
        wrong = target_fault(row, video.target, of=f"video {i}", pointer=pointer)
        faults += [] if wrong is None else [wrong]
        if row.per == "group" and of_prompt[video.prompt] < 2:
            detail = f"{row.id} compares videos of one prompt: {video.prompt!r} has one alone."
            faults.append(
                Fault(pointer=f"/videos/{i}/prompt", code="too_few_videos", detail=detail)
            )
    return faults
