"""Rewards: functions from videos and prompts to one score per video, higher is better.

Letters: B videos, F frames, C = 3 channels, H and W pixels. Frames are float in [0, 1].

A reward `per` frame is the mean of its scores of single frames, so it may be computed a few frames at
a time; one `per` video looks at all frames together; one `per` group compares the videos of a prompt.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from pydantic import JsonValue

from vader_core import weights_lock
from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import CatalogueUnusable, RewardNotFinite
from vader_core.spec import Guard, Prompt, RewardTerm


class Reward(Protocol):
    """One reward, frozen; differentiable in the frames where `row.differentiable` says so."""

    row: RewardRow

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,) of B videos, each with the prompt at its place."""
        ...


@runtime_checkable
class ReferenceReward(Protocol):
    """A reward whose row says `needs_reference`: its `score` has nothing to compare with and raises."""

    def compare(self, frames_BFCHW: torch.Tensor, references_BFCHW: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of videos beside the base model's own of the same prompts and seeds."""
        ...


class MakeReward(Protocol):
    """What a kind of rewards is: `params` come from the job, checked against the row's schema."""

    def __call__(
        self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute
    ) -> Reward: ...


# Module of this package and class, by kind. They are imported when a job asks for one: the model
# classes behind them take seconds to import.
_KINDS = {
    "action": "action:Action",
    "clip_head": "clip_head:ClipHead",
    "clip_similarity": "clip:ClipSimilarity",
    "diversity": "measures:Diversity",
    "entry_point": "entry_point:EntryPointReward",
    "hpsv3": "hpsv3:Hpsv3",
    "http": "http_endpoint:HttpReward",
    "image_reward": "image_reward:ImageReward",
    "jpeg_size": "jpeg_size:JpegSize",
    "motion": "measures:Motion",
    "mps": "mps:Mps",
    "object_presence": "detection:ObjectPresence",
    "object_removal": "detection:ObjectRemoval",
    "preference_head": "clip:PreferenceHeadReward",
    "reference_distance": "measures:ReferenceDistance",
    "sharpness": "measures:Sharpness",
    "video_reward": "video_reward:VideoReward",
    "video_text": "video_text:VideoText",
    "vjepa": "vjepa:VJepa",
}


def load(term: RewardTerm | Guard, row: RewardRow, compute: Compute) -> Reward:
    """The reward of `row` with the parameters of `term` on `compute`, in float32 or more precise.

    Raises `WeightsUnreadable` where the row's folder is missing, broken or of another commit, and
    `CatalogueUnusable` for a row of an unknown kind.
    """
    if row.folder is not None and row.weights is not None:
        weights_lock.check(row.folder, row.weights)
    return kind_of(row)(row, term.params, compute)


def kind_of(row: RewardRow) -> MakeReward:
    """What makes rewards of the row's kind. Raises `CatalogueUnusable` for an unknown one."""
    if row.kind not in _KINDS:
        raise CatalogueUnusable(
            f"The reward {row.id!r} is of the kind {row.kind!r}, which does not exist.",
            hint=f"Kinds: {', '.join(sorted(_KINDS))}.",
        )
    module, name = _KINDS[row.kind].split(":")
    made: MakeReward = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    return made


@dataclass(frozen=True)
class Part:
    """Frames of a video that are scored together, and their share in the whole score."""

    frames: slice
    share: float


def parts(row: RewardRow, num_frames: int, chunk_frames: int) -> list[Part]:
    """A reward per frame is a mean over frames: it is taken `chunk_frames` at a time, so that its memory
    is that of a few frames. Any other sees all frames together."""
    if row.per != "frame":
        return [Part(slice(0, num_frames), 1.0)]
    starts = range(0, num_frames, chunk_frames)
    chunks = [slice(start, min(start + chunk_frames, num_frames)) for start in starts]
    return [Part(chunk, (chunk.stop - chunk.start) / num_frames) for chunk in chunks]


def score_in_parts(
    reward: Reward, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt], *, chunk_frames: int
) -> torch.Tensor:
    """Scores (B,) of whole videos, part by part."""
    return torch.stack(
        [
            part.share * reward.score(frames_BFCHW[:, part.frames], prompts)
            for part in parts(reward.row, frames_BFCHW.shape[1], chunk_frames)
        ]
    ).sum(0)


# Added to a probability before its logarithm is taken: far less than any that tells videos apart, and
# enough that the logarithm and its gradient stay finite at 0 and stay above 0 next to it.
_LEAST_SCORE = 1e-20


@dataclass(frozen=True)
class Term:
    """One reward of a job and its part in the sum: `weight * value / scale`.

    The value is the score, `-|score - aim|`, or `min(score, cap)`: this is what counts everywhere, in
    training and in evaluations, which report the scores themselves beside it. `objective_scale` takes the
    scale's place in what training climbs; None is the scale itself.
    """

    reward: Reward
    weight: float = 1.0
    scale: float = 1.0
    objective_scale: float | None = None
    aim: float | None = None
    cap: float | None = None

    @property
    def name(self) -> str:
        return self.reward.row.id

    def contribution(self, score_B: torch.Tensor) -> torch.Tensor:
        """What scores (B,) add to the weighted sum (B,)."""
        return self._value(score_B) * (self.weight / self.scale)

    def objective(self, score_B: torch.Tensor) -> torch.Tensor:
        """What training climbs (B,): the value, or the score's logarithm in its place."""
        scale = self.scale if self.objective_scale is None else self.objective_scale
        return self.climbed(score_B) * (self.weight / scale)

    def climbed(self, score_B: torch.Tensor) -> torch.Tensor:
        """The objective (B,) before it is weighed and scaled.

        VADER trains its action reward by cross-entropy, which is the logarithm, and reports the
        probability.
        """
        if self.aim is None and self.reward.row.objective == "log_score":
            return (self._value(score_B).clamp_min(0) + _LEAST_SCORE).log()
        return self._value(score_B)

    def _value(self, score_B: torch.Tensor) -> torch.Tensor:
        if self.aim is not None:
            return -(score_B - self.aim).abs()
        return score_B if self.cap is None else score_B.clamp_max(self.cap)


@dataclass(frozen=True)
class WeightedSum:
    """What a job maximises: the sum of its rewards' scores, each weighed and scaled."""

    terms: Sequence[Term]

    def score(
        self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt], *, chunk_frames: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The total (B,) and, by reward id, every reward's own scores (B,), as it gave them.

        Rewards per frame are taken `chunk_frames` at a time. Raises `RewardNotFinite` where a score is
        NaN or infinite.
        """
        scores = {
            term.name: score_in_parts(term.reward, frames_BFCHW, prompts, chunk_frames=chunk_frames)
            for term in self.terms
        }
        for name, score_B in scores.items():
            require_finite(name, score_B, prompts)
        return self.total(scores), scores

    def objective(self, scores: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The sum (B,) of what training climbs, by the scores (B,) of every reward."""
        return torch.stack([term.objective(scores[term.name]) for term in self.terms]).sum(0)

    def total(self, scores: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum (B,) of scores (B,) by reward id."""
        return torch.stack([term.contribution(scores[term.name]) for term in self.terms]).sum(0)


def require_finite(name: str, score_B: torch.Tensor, prompts: Sequence[Prompt]) -> None:
    """Raises `RewardNotFinite`, naming the first prompt whose score is NaN or infinite."""
    for prompt, is_finite in zip(prompts, score_B.isfinite().tolist(), strict=True):
        if not is_finite:
            raise RewardNotFinite(
                f"The reward {name!r} gave a score that is not finite for {prompt.prompt!r}.",
                hint="Try precision fp32, a lower learning rate or a smaller guidance scale.",
            )
