"""Scores of videos by one reward, in bounded memory: frames a few at a time, or one prompt's videos together.

Letters: B videos, F frames, C = 3 channels, H and W pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import JsonValue

from vader_core import rewards
from vader_core.catalogue import RewardRow
from vader_core.devices import Compute, pick
from vader_core.errors import TrainerError
from vader_core.library_errors import as_trainer_error
from vader_core.rewards import Reward
from vader_core.scoring import ScoreRequest, ScoreResult, Unscored, VideoScore
from vader_core.spec import Prompt, RewardTerm
from vader_core.video_reading import MAX_PIXELS, VideoUnusable, read_video

_log = logging.getLogger(__name__)
FRAMES_AT_ONCE = 4


@dataclass(frozen=True)
class Shown:
    """A video to score and the prompt that it shows. `frames` gives RGB bytes (F, H, W, C) and may raise
    `VideoUnusable`."""

    prompt: Prompt
    frames: Callable[[], np.ndarray]


def score(
    request: ScoreRequest, row: RewardRow, *, folder: Path, device: str, threads: int | None
) -> ScoreResult:
    """Every video's score in float32, in the request's order; `seconds` is left to the caller.

    Raises a `TrainerError` where the reward itself cannot be used.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    videos = [
        Shown(
            Prompt(prompt=video.prompt, target=video.target),
            partial(read_video, folder / video.file),
        )
        for video in request.videos
    ]
    try:
        compute = pick(device, "fp32")
        scores = scores_of(videos, row, request.params, compute)
    except TrainerError:
        raise
    except Exception as error:
        _log.exception("Nothing was scored.")
        less = "Score fewer, shorter or smaller videos."
        raise as_trainer_error(error, of="scorer", need_less=less) from error
    name = f"{row.id}@{row.version}"
    return ScoreResult(reward=name, scores=scores, device=compute.device.type, seconds=0.0)


def scores_of(
    videos: Sequence[Shown], row: RewardRow, params: Mapping[str, JsonValue], compute: Compute
) -> list[VideoScore]:
    """The videos' scores by the reward of `row`, in their order. Raises as `rewards.load` does."""
    term = RewardTerm(reward=row.id, params=dict(params))
    scorer = _Scorer(rewards.load(term, row, compute), compute)
    with torch.no_grad():
        return scorer.scores(videos)


@dataclass(frozen=True)
class _Scorer:
    reward: Reward
    compute: Compute

    def scores(self, videos: Sequence[Shown]) -> list[VideoScore]:
        if self.reward.row.per != "group":
            return [self._alone(video) for video in videos]
        scored: dict[int, VideoScore] = {}
        for text in dict.fromkeys(video.prompt.prompt for video in videos):
            members = {i: video for i, video in enumerate(videos) if video.prompt.prompt == text}
            scored |= self._together(members)
        return [scored[i] for i in range(len(videos))]

    def _alone(self, video: Shown) -> VideoScore:
        try:
            frames_FHWC = video.frames()
            if self.reward.row.per != "frame" and len(frames_FHWC) < 2:
                return _unscored(
                    "too_few_frames", "This reward looks at movement: one frame has none."
                )
            return _scored(self._in_parts(frames_FHWC, video.prompt))
        except VideoUnusable as error:
            return _unscored(error.code, error.message)
        except ValueError as error:
            # What rewards say of a video or a target that they have no score for.
            return _unscored("not_scored", str(error))

    def _in_parts(self, frames_FHWC: np.ndarray, prompt: Prompt) -> float:
        """The score of a whole video; only the frames of one part are ever floating-point numbers."""
        return sum(
            part.share * self._score([frames_FHWC[part.frames]], [prompt])[0]
            for part in rewards.parts(self.reward.row, len(frames_FHWC), FRAMES_AT_ONCE)
        )

    def _together(self, members: dict[int, Shown]) -> dict[int, VideoScore]:
        """The scores of the videos of one prompt, by their place among all."""
        scored: dict[int, VideoScore] = {}
        read: dict[int, np.ndarray] = {}
        for i, video in members.items():
            try:
                read[i] = video.frames()
            except VideoUnusable as error:
                scored[i] = _unscored(error.code, error.message)
            if sum(frames.size for frames in read.values()) > 3 * MAX_PIXELS:
                big = "The videos of one prompt are too large to be compared."
                return {place: _unscored("too_large", big) for place in members}
        reason = _not_comparable(list(read.values()))
        if reason is not None:
            return scored | {i: VideoScore(score=None, reason=reason) for i in read}
        try:
            values = self._score(list(read.values()), [members[i].prompt for i in read])
        except ValueError as error:
            return scored | {i: _unscored("not_scored", str(error)) for i in read}
        return scored | {i: _scored(value) for i, value in zip(read, values, strict=True)}

    def _score(self, videos: Sequence[np.ndarray], prompts: Sequence[Prompt]) -> list[float]:
        frames_BFHWC = torch.from_numpy(np.stack(videos)).to(self.compute.device)
        frames_BFCHW = frames_BFHWC.movedim(-1, 2).to(self.compute.precise_dtype) / 255
        values: list[float] = self.reward.score(frames_BFCHW, prompts).tolist()
        return values


def _not_comparable(videos: Sequence[np.ndarray]) -> Unscored | None:
    if len(videos) < 2:
        message = "This reward compares the videos of a prompt, and only one of them can be read."
        return Unscored(code="too_few_videos", message=message)
    shapes = {video.shape[:3] for video in videos}
    if len(shapes) > 1:
        sizes = ", ".join(
            f"{count} x {width} x {height}" for count, height, width in sorted(shapes)
        )
        message = (
            f"Compared videos must have the same frames, width and height; these have {sizes}."
        )
        return Unscored(code="sizes_differ", message=message)
    return None


def _scored(value: float) -> VideoScore:
    if not np.isfinite(value):
        return _unscored("not_finite", "The reward gave a score that is not finite.")
    return VideoScore(score=value)


def _unscored(code: str, message: str) -> VideoScore:
    return VideoScore(score=None, reason=Unscored(code=code, message=message))
