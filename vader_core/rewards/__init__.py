"""Rewards: functions from videos and prompts to one score per video, higher is better.

Letters: B videos, F frames, C = 3 channels, H and W pixels. Frames are float in [0, 1].

A reward `per` frame is the mean of its scores of single frames, so it may be computed a few frames at
a time; one `per` video looks at all frames together; one `per` group compares the videos of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.errors import RewardNotFinite
from vader_core.rewards.action import Action
from vader_core.rewards.clip import Preference, TextMatch
from vader_core.rewards.measures import Diversity, Motion
from vader_core.spec import Guard, Prompt, RewardTerm


class Reward(Protocol):
    """One reward, frozen; differentiable in the frames where `row.differentiable` says so."""

    row: RewardRow

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,) of B videos, each with the prompt at its place."""
        ...


_KINDS: dict[str, Callable[[RewardRow, Compute], Reward]] = {
    "videomae_action": Action,
    "clip_text_match": TextMatch,
    "clip_preference": Preference,
    "diversity": Diversity,
    "motion": Motion,
}


def load(term: RewardTerm | Guard, row: RewardRow, compute: Compute) -> Reward:
    """The reward of `row` on `compute`, in float32 or more precise.

    `term.params` is checked against `row.params_schema` when a spec is resolved; the rewards built in
    take none. Raises `WeightsUnreadable` where the row's folder is missing or broken.
    """
    del term
    return _KINDS[row.kind](row, compute)


# Below this a probability counts as zero: its logarithm stays finite.
_LEAST_SCORE = 1e-12


@dataclass(frozen=True)
class WeightedSum:
    """What a job maximises: the sum of its rewards' scores times their weights."""

    terms: Sequence[tuple[float, Reward]]

    def score(
        self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The total (B,) and, by reward id, every reward's own scores (B,), unweighted.

        Raises `RewardNotFinite` where a score is NaN or infinite.
        """
        scores = {reward.row.id: reward.score(frames_BFCHW, prompts) for _, reward in self.terms}
        for name, score_B in scores.items():
            require_finite(name, score_B, prompts)
        return self.total(scores), scores

    def objective(self, scores: dict[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum (B,) of what training climbs, by the scores (B,) of every reward."""
        weighted = [w * objective(r.row, scores[r.row.id]) for w, r in self.terms]
        return torch.stack(weighted).sum(0)

    def total(self, scores: dict[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum (B,) of scores (B,) by reward id."""
        weighted = [weight * scores[reward.row.id] for weight, reward in self.terms]
        return torch.stack(weighted).sum(0)


def objective(row: RewardRow, score_B: torch.Tensor) -> torch.Tensor:
    """What training climbs (B,), rising with the scores (B,): themselves or their logarithm.

    VADER trains its action reward by cross-entropy, which is the logarithm, and reports the probability.
    """
    return score_B.clamp_min(_LEAST_SCORE).log() if row.objective == "log_score" else score_B


def require_finite(name: str, score_B: torch.Tensor, prompts: Sequence[Prompt]) -> None:
    """Raises `RewardNotFinite`, naming the first prompt whose score is NaN or infinite."""
    for prompt, is_finite in zip(prompts, score_B.isfinite().tolist(), strict=True):
        if not is_finite:
            raise RewardNotFinite(
                f"The reward {name!r} gave a score that is not finite for {prompt.prompt!r}.",
                hint="Try precision fp32, a lower learning rate or a smaller guidance scale.",
            )
