"""What the methods that regress on finished videos have in common: one step of theirs.

They sample a group of videos for every prompt, score them, noise them again (`noising`) and pull the
denoiser towards some or away from others; how strongly is what each method decides.

A group whose videos all score alike, but for rounding, ranks nothing. It is left out altogether, with
its prediction penalty: pulls that should cancel would leave their rounding errors, and AdamW makes full
steps of gradients however small.

Letters: B videos.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from vader_core.lines import StageSeconds
from vader_core.method_spec import OnlineSettings
from vader_core.methods.advantages import differ
from vader_core.methods.collecting import Collected, collect, training_process
from vader_core.methods.learner import Learner, StepResult
from vader_core.methods.noising import Finished, Learnt, all_finished
from vader_core.methods.step_choice import drawn_steps
from vader_core.methods.updating import update

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Group:
    """The videos of one prompt and their scores, which differ. `first` is the place of the first in the step."""

    videos: list[Finished]
    total_B: torch.Tensor
    first: int


@dataclass(frozen=True)
class Lesson:
    """What was pulled back in one step. `penalty_weight` is what the penalty counted with."""

    learnt: Learnt
    penalty_weight: float
    figures: dict[str, float] = field(default_factory=dict)


def ranked_groups(collected: Collected, *, size: int) -> list[Group]:
    """The groups of `size` videos in a row, without those whose videos all score alike."""
    videos, total_B = all_finished(collected), collected.total_B
    groups = [
        Group(videos[first : first + size], total_B[first : first + size], first)
        for first in range(0, len(videos), size)
    ]
    return [group for group in groups if differ(group.total_B)]


def in_batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """`items` in the same order, `size` at a time."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


class RegressionLearner(Learner):
    """Samples, scores, learns from the groups that are ranked, updates once."""

    @property
    def _online(self) -> OnlineSettings:
        assert isinstance(self.spec.method, OnlineSettings)
        return self.spec.method

    def _sampling_model(self) -> AbstractContextManager[None]:
        """Inside, the denoisers are those that the step's videos are sampled from."""
        return nullcontext()

    @abstractmethod
    def _learn(self, groups: list[Group], collected: Collected, *, step: int) -> Lesson:
        """Adds the gradients of what `groups`, of which there is at least one, teach."""

    def _updated(self, number: int) -> None:
        """Told after the optimiser's update of step `number` (from 0)."""

    def _steps(self, first: Finished, *, step: int) -> list[int]:
        """The steps to learn from in the batch of videos that starts with `first`."""
        return drawn_steps(
            self.spec,
            range(first.process.steps),
            step=step,
            index=first.number,
            count=self._online.train_steps,
        )

    def check(self) -> None:
        training_process(self.bench, self.spec)

    def step(self, number: int) -> StepResult:
        bench, clock = self.bench, self.bench.compute.clock
        began = clock()
        with self._sampling_model():
            collected = collect(bench, self.spec, step=number, end_only=True)
        learning_began = clock()
        bench.optimiser.forget_gradients()
        groups = ranked_groups(collected, size=self._online.group_size)
        lesson = self._learn(groups, collected, step=number) if groups else Lesson(Learnt(0, 0), 0)
        update_began = clock()
        updated = update(bench, self.spec, step=number)
        self._updated(number)
        ended = clock()
        _log.info("step %d: learnt from %d groups", number + 1, len(groups))
        total_B, learnt = collected.total_B, lesson.learnt
        return StepResult(
            loss=learnt.loss + lesson.penalty_weight * learnt.penalty,
            total_B=total_B,
            rewards=collected.rewards(),
            penalty=learnt.penalty,
            grad_norm=updated.grad_norm,
            learning_rate=updated.learning_rate,
            reward_queries=len(total_B) * bench.objective.queries_per_training_video,
            seconds=ended - began,
            stage_seconds=StageSeconds(
                prefix=collected.sampling_seconds,
                last_k=update_began - learning_began,
                decode=collected.decode_seconds,
                reward=collected.reward_seconds,
                backward=0.0,
                optimiser=ended - update_began,
            ),
            figures={"ranked_groups": float(len(groups)), **lesson.figures},
        )
