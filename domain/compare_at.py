"""Jobs at equal spending: what each had reached by the same number of reward queries, seconds or steps.

Nothing is extrapolated and nothing drawn between points: a job's value at x is the newest that was
measured at x or before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from domain.metrics import Axis
from domain.tables import Evaluation, MetricPoint
from vader_core.lines import PairScore, RewardDifference, Verdict
from vader_core.statistics import paired_difference, resolution, unpaired_difference, verdict

HELDOUT = "heldout_reward"
MOST_PLACES = 20
Pair = tuple[str, int]


@dataclass(frozen=True)
class Run:
    """One job's points of the metric by step, its evaluations where the metric is one of theirs, and the
    prompts of its newest evaluation, whatever the metric is."""

    job_id: UUID
    points: list[MetricPoint]
    evaluations: list[Evaluation]
    heldout_prompts: frozenset[str]

    def by(self, x: Axis, place: float) -> MetricPoint | None:
        """The newest point that was measured at `place` or before."""
        before = [point for point in self.points if getattr(point, x) <= place]
        return before[-1] if before else None

    def scores(self, key: str, step: int) -> dict[Pair, float]:
        """The score of every held-out pair by the metric `key` at `step`; empty where none are stored."""
        row = self._measured(step)
        if row is None:
            return {}
        pairs = [PairScore.model_validate(score) for score in row.data.get("scores", [])]
        _, _, reward = key.partition(".")
        if not reward:
            return {(pair.prompt_id, pair.seed): pair.score for pair in pairs}
        return {
            (pair.prompt_id, pair.seed): pair.rewards[reward]
            for pair in pairs
            if reward in pair.rewards
        }

    def resolution(self, key: str, step: int) -> float:
        """The smallest difference in the metric `key` that counts, as the evaluation at `step` has it."""
        row = self._measured(step)
        data = {} if row is None else row.data
        _, _, reward = key.partition(".")
        told = data.get("per_reward", {}).get(reward) if reward else data.get("difference")
        return 0.0 if told is None else RewardDifference.model_validate(told).resolution

    def _measured(self, step: int) -> Evaluation | None:
        """The evaluation of the adapter that stood at `step`: not of one that a run went back to."""
        of_step = [
            row
            for row in self.evaluations
            if row.step == step and row.data.get("adapter_step") is None
        ]
        return of_step[-1] if of_step else None


@dataclass(frozen=True)
class AtX:
    """Two jobs at the same `x`. `measured_at` is where, along x, each value was really measured.

    `difference` is that of the second job from the first. Paired: over the held-out pairs that both have
    scored; unpaired: over the prompts of each. None where the scores of single videos are not known, or
    where the two measure different things.
    """

    x: float
    jobs: tuple[UUID, UUID]
    values: tuple[float, float]
    measured_at: tuple[float, float]
    steps: tuple[int, int]
    basis: Literal["paired", "unpaired"] | None
    prompts: int
    difference: RewardDifference | None
    verdict: Verdict | None


def at_equal_x(runs: Sequence[Run], *, key: str, x: Axis, same_measure: bool) -> list[AtX]:
    """The first job beside each of the others, where all were measured and at the end of the shortest.

    Without points of every job there is nothing to compare.
    """
    if not all(run.points for run in runs):
        return []
    first, *others = runs
    return [
        found
        for place in _places(runs, x)
        for other in others
        if (found := _beside(first, other, place, key=key, x=x, same_measure=same_measure))
    ]


def _places(runs: Sequence[Run], x: Axis) -> list[float]:
    """Where all were measured, and the largest x that all have reached; 20 of them at most."""
    reached = min(max(getattr(point, x) for point in run.points) for run in runs)
    common = set.intersection(*({getattr(point, x) for point in run.points} for run in runs))
    places = sorted({*(place for place in common if place <= reached), reached})
    every = -(-len(places) // MOST_PLACES)
    # Counted from the end: the last is the one that matters.
    return [float(place) for place in places[::-1][::every][::-1]]


def _beside(
    first: Run, other: Run, place: float, *, key: str, x: Axis, same_measure: bool
) -> AtX | None:
    one, two = first.by(x, place), other.by(x, place)
    if one is None or two is None:
        return None
    scores = first.scores(key, one.step), other.scores(key, two.step)
    least = max(first.resolution(key, one.step), other.resolution(key, two.step))
    basis, prompts, difference = _difference(*scores, least) if same_measure else (None, 0, None)
    return AtX(
        x=place,
        jobs=(first.job_id, other.job_id),
        values=(one.value, two.value),
        measured_at=(float(getattr(one, x)), float(getattr(two, x))),
        steps=(one.step, two.step),
        basis=basis,
        prompts=prompts,
        difference=difference,
        verdict=None if difference is None else verdict(difference),
    )


def _difference(
    one: Mapping[Pair, float], two: Mapping[Pair, float], least: float
) -> tuple[Literal["paired", "unpaired"] | None, int, RewardDifference | None]:
    """How the difference was found, over how many prompts, and the difference."""
    if not one or not two:
        return None, 0, None
    least = max(least, resolution([*one.values(), *two.values()]))
    shared = sorted(one.keys() & two.keys())
    if shared:
        prompts = [prompt_id for prompt_id, _ in shared]
        found = paired_difference(
            [one[pair] for pair in shared],
            [two[pair] for pair in shared],
            prompt_ids=prompts,
            resolution=least,
        )
        return "paired", len(set(prompts)), found
    unpaired = unpaired_difference(
        list(one.values()),
        list(two.values()),
        first_prompts=[prompt_id for prompt_id, _ in one],
        second_prompts=[prompt_id for prompt_id, _ in two],
        resolution=least,
    )
    return "unpaired", len({prompt_id for prompt_id, _ in (*one, *two)}), unpaired
