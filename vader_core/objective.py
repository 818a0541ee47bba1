"""What a job maximises and what it watches besides, loaded and ready to score.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vader_core.catalogue import Catalogue, RewardRow
from vader_core.devices import Compute
from vader_core.resolve import find_row
from vader_core.rewards import Reward, WeightedSum, load, require_finite
from vader_core.spec import Guard, JobSpec, Prompt, RewardTerm


@dataclass(frozen=True)
class Objective:
    """The weighted sum of a job's rewards, and its guards in the spec's order."""

    reward: WeightedSum
    guards: list[Reward]

    @property
    def queries_per_training_video(self) -> int:
        return len(self.reward.terms)

    @property
    def queries_per_evaluation_video(self) -> int:
        return len(self.reward.terms) + len(self.guards)

    def guard_means(self) -> GuardMeans:
        """An empty tally of all guards."""
        return GuardMeans([GuardMean(guard) for guard in self.guards])


def load_objective(spec: JobSpec, catalogue: Catalogue, compute: Compute) -> Objective:
    """Loads all rewards and guards of a resolved spec. Raises `WeightsUnreadable`."""

    def loaded(term: RewardTerm | Guard) -> Reward:
        return load(term, _row(term, catalogue), compute)

    terms = [(term.weight, loaded(term)) for term in spec.rewards]
    return Objective(WeightedSum(terms), [loaded(guard) for guard in spec.guards or []])


def _row(term: RewardTerm | Guard, catalogue: Catalogue) -> RewardRow:
    row = find_row(term.reward, catalogue.rewards)
    if row is None:
        raise ValueError(f"the spec is not resolved: {term.reward!r} is not in the catalogue")
    return row


class GuardMean:
    """The mean of one guard over videos that come in batches, all videos of a prompt in a row."""

    def __init__(self, guard: Reward) -> None:
        self._guard = guard
        self._scores: list[float] = []
        self._group: list[tuple[Prompt, torch.Tensor]] = []

    def add(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> None:
        if self._guard.row.per != "group":
            self._score(frames_BFCHW, prompts)
            return
        for prompt, frames_FCHW in zip(prompts, frames_BFCHW, strict=True):
            if self._group and self._group[0][0] != prompt:
                self._score_group()
            self._group.append((prompt, frames_FCHW))

    def mean(self) -> float:
        if self._group:
            self._score_group()
        return statistics.fmean(self._scores)

    def _score_group(self) -> None:
        videos = torch.stack([frames_FCHW for _, frames_FCHW in self._group])
        self._score(videos, [prompt for prompt, _ in self._group])
        self._group = []

    def _score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> None:
        with torch.no_grad():
            score_B = self._guard.score(frames_BFCHW, prompts)
        require_finite(self._guard.row.id, score_B, prompts)
        self._scores += score_B.tolist()


@dataclass(frozen=True)
class GuardMeans:
    """All guards' means, in the spec's order."""

    tallies: list[GuardMean]

    def add(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> None:
        for tally in self.tallies:
            tally.add(frames_BFCHW, prompts)

    def means(self) -> list[float]:
        return [tally.mean() for tally in self.tallies]
