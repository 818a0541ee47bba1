"""What every method is to the training loop: something that takes one step after the other.

Letters: B videos of a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from vader_core.lines import StageSeconds
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench


@dataclass(frozen=True)
class StepResult:
    """What one training step did; scores are over all of the step's videos.

    `total_B` is the weighted sum of the rewards. `figures` are the method's own, by name.
    `reward_queries` are the videos scored, times the rewards.
    """

    loss: float
    total_B: torch.Tensor
    rewards: dict[str, float]
    penalty: float
    grad_norm: float
    learning_rate: float
    reward_queries: int
    seconds: float
    stage_seconds: StageSeconds
    figures: dict[str, float] = field(default_factory=dict)


class Learner(ABC):
    """One method at work on one run. What it remembers from step to step is in its `state_dict`."""

    def __init__(self, bench: Workbench, spec: JobSpec) -> None:
        self.bench, self.spec = bench, spec

    @abstractmethod
    def check(self) -> None:
        """Raises `SpecUnusable` where the method cannot work with this base model's sampler.

        Asked once, before the base evaluation is paid for; changes nothing.
        """

    @abstractmethod
    def step(self, number: int) -> StepResult:
        """Takes step `number` (from 0): samples, scores, learns.

        Every random number in it depends on the spec's seed and `number` alone. Raises `RewardNotFinite`
        and `GradientNotFinite`, and leaves adapter and optimiser as they were if anything is raised.
        """

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What has to be known besides adapter and optimiser to go on exactly, on the CPU."""
        return {}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes what `state_dict` gave."""
        if state:
            raise ValueError(f"{type(self).__name__} remembers nothing, yet was given {set(state)}")
