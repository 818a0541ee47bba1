"""Scoring held-out prompts under fixed seeds, for base and adapter from the same noise.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from vader_core import frames, rollout, seeds
from vader_core.base_models import BaseModel
from vader_core.guard_rules import guard_result
from vader_core.lines import GuardResult, PairScore, PairsNeeded, RewardDifference
from vader_core.objective import Objective
from vader_core.pairs_needed import pairs_needed
from vader_core.prompts import prompt_id, split
from vader_core.rewards import require_finite
from vader_core.spec import JobSpec, Prompt, Video
from vader_core.state import PairScores
from vader_core.statistics import paired_difference, resolution

# Gets every scored video: the pair, its frames (F, C, H, W) in [0, 1] and its weighted score.
Keep = Callable[["Pair", torch.Tensor, float], None]
BetweenBatches = Callable[[], None]
# A block inside which the base model has no adapter.
AsBase = Callable[[], AbstractContextManager[None]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A held-out prompt and a seed: what a base video and an adapter video have in common."""

    prompt: Prompt
    seed: int

    @property
    def prompt_id(self) -> str:
        return prompt_id(self.prompt)

    @property
    def name(self) -> str:
        return f"{self.prompt_id}-s{self.seed}"

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers of this pair, whatever else is evaluated with it."""
        index = int(self.prompt_id.removeprefix("p_"), 16)
        return seeds.generator(self.seed, step=0, purpose=purpose, index=index)


def heldout_pairs(spec: JobSpec) -> list[Pair]:
    """The evaluation's pairs, prompt by prompt.

    When there are more held-out prompts than `num_prompts`, the smallest ids are taken: a choice that
    follows neither the order in which they were written nor what they say and show.
    """
    _, heldout = split(spec.prompts.inline or [], spec.prompts.heldout_fraction)
    by_id = {prompt_id(prompt): prompt for prompt in heldout}
    chosen = [by_id[name] for name in sorted(by_id)[: spec.evaluation.num_prompts]]
    return [Pair(prompt, seed) for prompt in chosen for seed in spec.evaluation.seeds]


@dataclass(frozen=True)
class Comparison:
    """Base against adapter: the weighted sum, every reward, every guard."""

    difference: RewardDifference
    pairs_needed: PairsNeeded
    per_reward: dict[str, RewardDifference]
    guards: list[GuardResult]


class Evaluator:
    """Makes and scores the pairs' videos with whatever the base model's adapter is at the moment."""

    def __init__(self, base: BaseModel, objective: Objective, spec: JobSpec) -> None:
        self._base, self._objective, self._spec = base, objective, spec
        self.pairs = heldout_pairs(spec)

    def score(
        self, *, keep: Keep, between_batches: BetweenBatches, as_base: AsBase | None = None
    ) -> PairScores:
        """Scores of all pairs. `between_batches` may raise to leave.

        `as_base` switches the adapter off: a guard that compares with the base model's videos has them
        sampled once more. Without it the videos are the base model's own already. Raises `RewardNotFinite`.
        """
        total: list[float] = []
        rewards: dict[str, list[float]] = {}
        chunk_frames = self._spec.method.decode_chunk_frames
        guards = self._objective.guard_means(chunk_frames=chunk_frames)
        for batch, frames_BFCHW in self.videos(self.pairs, between_batches=between_batches):
            prompts = [pair.prompt for pair in batch]
            with torch.no_grad():
                total_B, per_reward = self._objective.reward.score(
                    frames_BFCHW, prompts, chunk_frames=chunk_frames
                )
            require_finite("weighted sum", total_B, prompts)
            total += total_B.tolist()
            for name, score_B in per_reward.items():
                rewards.setdefault(name, []).extend(score_B.tolist())
            guards.add(frames_BFCHW, prompts, self._references(batch, frames_BFCHW, as_base))
            for pair, frames_FCHW, score in zip(batch, frames_BFCHW, total_B.tolist(), strict=True):
                keep(pair, frames_FCHW, score)
        return PairScores(
            total=total,
            rewards=rewards,
            guards=guards.means(),
            guard_deviations=guards.deviations(),
            queries=len(self.pairs) * self._objective.queries_per_evaluation_video,
        )

    def _references(
        self, batch: list[Pair], frames_BFCHW: torch.Tensor, as_base: AsBase | None
    ) -> torch.Tensor | None:
        """The base model's videos of the pairs, where a guard asks for them."""
        if not self._objective.needs_reference:
            return None
        if as_base is None:
            return frames_BFCHW
        with as_base():
            return self._generate(batch)

    def videos(
        self, pairs: Sequence[Pair], *, between_batches: BetweenBatches
    ) -> Iterator[tuple[list[Pair], torch.Tensor]]:
        """The pairs in batches, each with its videos' frames (B, F, C, H, W)."""
        size = self._spec.method.batch_size
        for start in range(0, len(pairs), size):
            between_batches()
            batch = list(pairs[start : start + size])
            yield batch, self._generate(batch)
            _log.info("%d of %d videos evaluated", start + len(batch), len(pairs))

    def _generate(self, batch: list[Pair]) -> torch.Tensor:
        chunk_frames = self._spec.method.decode_chunk_frames
        return videos_of(batch, self._base, self._spec.video, chunk_frames=chunk_frames)

    def by_pair(self, scores: PairScores) -> list[PairScore]:
        """The scores of all pairs, each told with its prompt and seed."""
        return [
            PairScore(
                prompt_id=pair.prompt_id,
                seed=pair.seed,
                score=scores.total[index],
                rewards={name: values[index] for name, values in scores.rewards.items()},
            )
            for index, pair in enumerate(self.pairs)
        ]

    def compare(self, before: PairScores, after: PairScores, *, looks: int = 1) -> Comparison:
        """The paired differences and the guards of two scorings of the same pairs.

        `looks` is the number of states of which this adapter's was chosen by its scores of these pairs.
        """
        ids = [pair.prompt_id for pair in self.pairs]
        least = self._resolutions(before, after)
        least_of_sum = self._resolution_of_sum(before, after, least)
        found = zip(before.guards, before.guard_deviations, after.guards, strict=True)
        return Comparison(
            difference=paired_difference(
                before.total, after.total, prompt_ids=ids, resolution=least_of_sum, looks=looks
            ),
            pairs_needed=pairs_needed(
                before.total,
                after.total,
                prompt_ids=ids,
                wanted_half_width=self._spec.evaluation.wanted_half_width,
                resolution=least_of_sum,
                looks=looks,
            ),
            per_reward={
                name: paired_difference(
                    before.rewards[name],
                    scores,
                    prompt_ids=ids,
                    resolution=least[name],
                    looks=looks,
                )
                for name, scores in after.rewards.items()
            },
            guards=[
                guard_result(guard, base=was, base_deviation=deviation, adapter=now)
                for guard, (was, deviation, now) in zip(self._spec.guards or [], found, strict=True)
            ],
        )

    def _resolutions(self, before: PairScores, after: PairScores) -> dict[str, float]:
        """The smallest difference that counts, by reward."""
        return {
            term.name: resolution(
                [*before.rewards[term.name], *after.rewards[term.name]], term.reward.row.range
            )
            for term in self._objective.reward.terms
        }

    def _resolution_of_sum(
        self, before: PairScores, after: PairScores, least: Mapping[str, float]
    ) -> float:
        """That of the weighted sum: what its terms' may add up to, and no less than its own rounding."""
        terms = self._objective.reward.terms
        of_terms = sum(term.weight / term.scale * least[term.name] for term in terms)
        return max(of_terms, resolution([*before.total, *after.total]))


def videos_of(
    pairs: Sequence[Pair], base: BaseModel, video: Video, *, chunk_frames: int
) -> torch.Tensor:
    """The pairs' videos (B, F, C, H, W) with whatever the base model's adapter is at the moment.

    A pair always starts from the same noise.
    """
    latents_BCfHW = rollout.generate(
        rollout.Batch(
            base,
            base.conditions([pair.prompt for pair in pairs], video),
            noise(base, video, [pair.generator("evaluation") for pair in pairs]),
            video,
            [pair.generator("evaluation steps") for pair in pairs],
        )
    )
    return decoded_whole(base, latents_BCfHW, video, chunk_frames=chunk_frames)


def noise(base: BaseModel, video: Video, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Standard normal latents of `base.latents_shape` on the CPU, each video's from its own generator."""
    shape = base.latents_shape(video, batch=1)
    return torch.cat([torch.randn(shape, generator=generator) for generator in generators])


def decoded_whole(
    base: BaseModel, latents_BCfHW: torch.Tensor, video: Video, *, chunk_frames: int
) -> torch.Tensor:
    """Every frame (B, F, C, H, W) of the videos, without a graph."""
    every_BF = frames.every_frame(num_frames=video.num_frames or 1, batch=len(latents_BCfHW))
    with torch.no_grad():
        return base.decode(latents_BCfHW, every_BF, chunk_frames=chunk_frames)


def mean(scores: PairScores) -> float:
    """The held-out reward."""
    return statistics.fmean(scores.total)
