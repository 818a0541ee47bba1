"""What a job maximises and what it watches besides, loaded and ready to score.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from vader_core.catalogue import Catalogue, RewardRow, find_row
from vader_core.devices import Compute
from vader_core.errors import SpecUnusable
from vader_core.prompts import prompt_id
from vader_core.rewards import (
    ReferenceReward,
    Reward,
    Term,
    WeightedSum,
    load,
    require_finite,
    score_in_parts,
)
from vader_core.spec import Guard, JobSpec, Prompt, RewardTerm
from vader_core.state import Scales


@dataclass
class Objective:
    """The weighted sum of a job's rewards, and its guards in the spec's order.

    Rewards named in `unscaled` are scaled by the base model's own spread: until `calibrate` has been
    told it, their scale is 1.
    """

    reward: WeightedSum
    guards: list[Reward]
    unscaled: frozenset[str] = frozenset()

    def measure_scales(self, scores: Mapping[str, Sequence[float]]) -> dict[str, Scales]:
        """The spread of the base model's scores, for the rewards that are scaled by it.

        Raises `SpecUnusable` where there is none.
        """
        return {
            term.name: _scales(term, scores[term.name])
            for term in self.reward.terms
            if term.name in self.unscaled
        }

    def calibrate(self, scales: Mapping[str, Scales]) -> None:
        """Takes what `measure_scales` found."""
        self.reward = WeightedSum([_scaled(term, scales) for term in self.reward.terms])

    @property
    def queries_per_training_video(self) -> int:
        return len(self.reward.terms)

    @property
    def queries_per_evaluation_video(self) -> int:
        return len(self.reward.terms) + len(self.guards)

    @property
    def needs_reference(self) -> bool:
        """Whether a guard compares a video with the base model's own."""
        return any(guard.row.needs_reference for guard in self.guards)

    def guard_means(self, *, chunk_frames: int) -> GuardMeans:
        """An empty tally of all guards; those per frame score `chunk_frames` at a time."""
        return GuardMeans([GuardMean(guard, chunk_frames=chunk_frames) for guard in self.guards])


def _scales(term: Term, scores: Sequence[float]) -> Scales:
    """Standard deviations; the two differ where training climbs something else than the score.

    A cap is left out: videos beyond it are alike, and would make the rest look further apart.
    """
    uncapped = dataclasses.replace(term, cap=None)
    climbed_B = uncapped.climbed(torch.tensor(scores, dtype=torch.float64))
    found = Scales(score=statistics.pstdev(scores), objective=statistics.pstdev(climbed_B.tolist()))
    if found.score == 0 or found.objective == 0:
        alike = "have the same score" if found.score == 0 else "are as far from the aim"
        raise SpecUnusable(
            f"All held-out videos of the base model {alike} by {term.name!r}: "
            "their spread cannot be its scale.",
            hint="Give `scale` as a number, or more held-out prompts and seeds.",
        )
    return found


def _scaled(term: Term, scales: Mapping[str, Scales]) -> Term:
    found = scales.get(term.name)
    if found is None:
        return term
    return dataclasses.replace(term, scale=found.score, objective_scale=found.objective)


def load_objective(spec: JobSpec, catalogue: Catalogue, compute: Compute) -> Objective:
    """Loads all rewards and guards of a resolved spec, each once. Raises `WeightsUnreadable`."""
    known: dict[tuple[str, str], Reward] = {}

    def loaded(term: RewardTerm | Guard) -> Reward:
        row = _row(term, catalogue)
        key = row.id, json.dumps(term.params, sort_keys=True)
        if key not in known:
            known[key] = load(term, row, compute)
        return known[key]

    terms = [
        Term(
            reward=loaded(term),
            weight=term.weight,
            scale=1.0 if term.scale == "base" else term.scale,
            aim=term.aim,
            cap=term.cap,
        )
        for term in spec.rewards
    ]
    return Objective(
        WeightedSum(terms),
        [loaded(guard) for guard in spec.guards or []],
        unscaled=frozenset(
            made.name
            for made, term in zip(terms, spec.rewards, strict=True)
            if term.scale == "base"
        ),
    )


def _row(term: RewardTerm | Guard, catalogue: Catalogue) -> RewardRow:
    row = find_row(term.reward, catalogue.rewards)
    if row is None:
        raise ValueError(f"the spec is not resolved: {term.reward!r} is not in the catalogue")
    return row


class GuardMean:
    """The mean of one guard over videos that come in batches, all videos of a prompt in a row.

    A guard per frame scores `chunk_frames` frames at a time.
    """

    def __init__(self, guard: Reward, *, chunk_frames: int) -> None:
        self._guard, self._chunk_frames = guard, chunk_frames
        self._scores: list[float] = []
        self._group: list[tuple[Prompt, torch.Tensor]] = []

    def add(
        self,
        frames_BFCHW: torch.Tensor,
        prompts: Sequence[Prompt],
        references_BFCHW: torch.Tensor | None = None,
    ) -> None:
        """`references_BFCHW` are the base model's videos, for a guard that compares with them."""
        if self._guard.row.per != "group":
            self._score(frames_BFCHW, prompts, references_BFCHW)
            return
        for prompt, frames_FCHW in zip(prompts, frames_BFCHW, strict=True):
            if self._group and prompt_id(self._group[0][0]) != prompt_id(prompt):
                self._score_group()
            self._group.append((prompt, frames_FCHW))

    def mean(self) -> float:
        self._score_group()
        return statistics.fmean(self._scores)

    def deviation(self) -> float:
        """The standard deviation of the single videos' scores."""
        self._score_group()
        return statistics.pstdev(self._scores)

    def _score_group(self) -> None:
        if not self._group:
            return
        videos = torch.stack([frames_FCHW for _, frames_FCHW in self._group])
        self._score(videos, [prompt for prompt, _ in self._group])
        self._group = []

    def _score(
        self,
        frames_BFCHW: torch.Tensor,
        prompts: Sequence[Prompt],
        references_BFCHW: torch.Tensor | None = None,
    ) -> None:
        with torch.no_grad():
            if references_BFCHW is not None and isinstance(self._guard, ReferenceReward):
                score_B = self._guard.compare(frames_BFCHW, references_BFCHW)
            else:
                score_B = score_in_parts(
                    self._guard, frames_BFCHW, prompts, chunk_frames=self._chunk_frames
                )
        require_finite(self._guard.row.id, score_B, prompts)
        self._scores += score_B.tolist()


@dataclass(frozen=True)
class GuardMeans:
    """All guards' means, in the spec's order."""

    tallies: list[GuardMean]

    def add(
        self,
        frames_BFCHW: torch.Tensor,
        prompts: Sequence[Prompt],
        references_BFCHW: torch.Tensor | None = None,
    ) -> None:
        for tally in self.tallies:
            tally.add(frames_BFCHW, prompts, references_BFCHW)

    def means(self) -> list[float]:
        return [tally.mean() for tally in self.tallies]

    def deviations(self) -> list[float]:
        return [tally.deviation() for tally in self.tallies]
