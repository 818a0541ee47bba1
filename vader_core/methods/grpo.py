"""Flow-GRPO (Liu et al., arXiv 2505.05470): advantages within a prompt's group, divergence from the base model.

Its fewer denoising steps in training (section 4.3) are `sampling_steps`; `train_steps` learns from some of
them only. Deviations beside those of `vader_core.methods.policy` and `vader_core.methods.advantages`:
- models that do not match flows are sampled by DDIM with noise, whose eta is `noise_level`;
- the divergence is the mean over a sample's elements, as in the authors' code, where the paper sums.
"""

from __future__ import annotations

import torch

from vader_core.method_spec import Grpo
from vader_core.methods.advantages import group_advantages
from vader_core.methods.collecting import Collected
from vader_core.methods.policy import PolicyLearner
from vader_core.methods.stochastic_sampler import StochasticSampler
from vader_core.spec import JobSpec
from vader_core.workbench import Workbench


class GrpoLearner(PolicyLearner):
    """Remembers nothing from step to step."""

    def __init__(self, bench: Workbench, spec: JobSpec) -> None:
        super().__init__(bench, spec)
        assert isinstance(spec.method, Grpo)
        self._grpo = spec.method
        self.kl_weight = spec.method.kl_weight

    @property
    def sampler(self) -> StochasticSampler:
        return StochasticSampler(self._grpo.noise_level, flow=self._grpo.flow_sampler)

    def advantages(self, collected: Collected) -> torch.Tensor:
        return group_advantages(
            collected.total_B,
            group_size=self._grpo.group_size,
            normalised=self._grpo.normalise_by_deviation,
        )
