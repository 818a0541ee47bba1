"""DDPO with importance sampling (Black et al., arXiv 2305.13301): DDIM with noise, rewards by prompt statistics.

Deviations beside those of `vader_core.methods.policy` and `vader_core.methods.advantages`:
- flow-matching models are sampled by the same step, written for their signal and noise;
- every update of a step goes over all of its videos, where the authors' code cuts them into parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vader_core.method_spec import Ddpo
from vader_core.methods.advantages import PromptStatistics
from vader_core.methods.collecting import Collected
from vader_core.methods.policy import PolicyLearner
from vader_core.methods.stochastic_sampler import StochasticSampler
from vader_core.prompts import prompt_id
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench


class DdpoLearner(PolicyLearner):
    """Remembers every prompt's last rewards."""

    def __init__(self, bench: Workbench, spec: JobSpec) -> None:
        super().__init__(bench, spec)
        assert isinstance(spec.method, Ddpo)
        self._statistics = PromptStatistics(
            window=spec.method.statistics_window, least=spec.method.statistics_min
        )

    @property
    def sampler(self) -> StochasticSampler:
        return StochasticSampler(self._method.noise_level, flow="ddim")

    def advantages(self, collected: Collected) -> torch.Tensor:
        return self._statistics.advantages(collected.total_B, _ids(collected))

    def remember(self, collected: Collected) -> None:
        self._statistics.add(collected.total_B, _ids(collected))

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self._statistics.state_dict()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._statistics.load_state_dict(state)


def _ids(collected: Collected) -> list[str]:
    return [prompt_id(prompt) for prompt in collected.prompts]
