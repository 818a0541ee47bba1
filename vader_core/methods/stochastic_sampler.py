"""Samplers whose every step is a draw from a Gaussian: what policy-gradient methods need of denoising.

Two of them, both from the process's own signal and noise (`vader_core.process`):
- `ddim`: DDIM with noise (Song et al., arXiv 2010.02502, equations 12 and 16), written for any alpha and
  sigma: x' = alpha' * clean + sqrt(sigma'^2 - std^2) * noise + std * z with
  std = eta * sigma' * sqrt(1 - (alpha * sigma' / (alpha' * sigma))^2). eta = 1 is DDPM's posterior for
  variance-preserving processes, the ancestral step for exploding ones, and for flow matching a step that
  keeps the noise at sigma', as coefficients-preserving sampling does (arXiv 2509.05952, whose std has
  sin(eta * pi / 2) in place of eta * sqrt(...));
- `sde`: Flow-GRPO's for flow matching (Liu et al., arXiv 2505.05470, equation 9): with s = a * sqrt(t / (1 - t)),
  t = sigma and dt = t' - t < 0, the mean is x + (v + s^2 / (2 t) * (x + (1 - t) * v)) * dt and the deviation
  s * sqrt(-dt).

Deviations:
- the last step is deterministic, as is every step whose noise would be less than `_QUIET` for samples of
  unit scale. Nobody sees such noise in a video, but its density is so steep that its gradient would
  outweigh that of all other steps. Deterministic steps have no density and are not learnt from;
- the deterministic part of a step is DDIM's or Euler's whatever the pipeline's scheduler is: a multistep
  solver's memory has no place in a Markov chain. A scheduler's clipping of the clean sample is left out;
- at the first step, where t is 1 or nearly so, s takes 1 - t of the next step, as the authors' code does.

Shapes: R rows of a scheduler's batch, then any dimensions; B videos of R / B rows each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from vader_core.errors import SpecUnusable
from vader_core.process import Process
from vader_core.stepping import StepCall

_QUIET = 0.01


@dataclass(frozen=True)
class Transition:
    """What follows a sample: normal around `mean` (R, ...), every element with deviation `std`."""

    mean: torch.Tensor
    std: float

    def log_prob_B(self, following: torch.Tensor, *, videos: int) -> torch.Tensor:
        """The log-density of `following` (R, ...), by video: the mean over its elements, not the sum.

        So have it the published codes of DDPO and Flow-GRPO, and their `clip_range` is meant for it.
        Needs `std` > 0.
        """
        away = (following - self.mean) / self.std
        constant = math.log(self.std) + 0.5 * math.log(2 * math.pi)
        return -0.5 * away.square().reshape(videos, -1).mean(1) - constant

    def kl_B(self, other_mean: torch.Tensor, *, videos: int) -> torch.Tensor:
        """The divergence from the normal with the same `std` around `other_mean`, by video, mean over elements."""
        away = (self.mean - other_mean) / self.std
        return 0.5 * away.square().reshape(videos, -1).mean(1)


@dataclass(frozen=True)
class StochasticSampler:
    """A `Stepper` that draws every step from `transition`.

    `noise_level` is `ddim`'s eta, or `sde`'s a. `flow` says which of the two flow-matching processes
    take; all others take `ddim`, which needs a noise level of at most 1.
    """

    noise_level: float
    flow: Literal["ddim", "sde"]

    def __call__(self, call: StepCall) -> torch.Tensor:
        """What follows the sample of `call`. Raises `SpecUnusable`, see `transition`."""
        after = self.transition(call.process, call.index, call.output, call.sample)
        return after.mean + after.std * call.normal() if after.std > 0 else after.mean

    def noisy_steps(self, process: Process) -> list[int]:
        """The steps that have a density. Raises `SpecUnusable` where there are none."""
        steps = [step for step in range(process.steps) if self.std(process, step) > 0]
        if not steps:
            raise SpecUnusable(
                f"None of the {process.steps} denoising steps leaves noise behind to learn from.",
                hint="Take more denoising steps (video.inference_steps or method.sampling_steps) or a higher "
                "noise_level.",
            )
        return steps

    def std(self, process: Process, step: int) -> float:
        """The deviation of the noise that step `step` adds; 0 for a deterministic step."""
        std = (
            self._sde_std(process, step) if self._is_sde(process) else self._ddim_std(process, step)
        )
        return std if step < process.steps - 1 and std >= _QUIET else 0.0

    def transition(
        self, process: Process, step: int, output: torch.Tensor, sample: torch.Tensor
    ) -> Transition:
        """Where step `step` leads from x_i = `sample` (R, ...), of which `output` (R, ...) was predicted.

        Differentiable in `output`. Raises `SpecUnusable` where the noise level is too high.
        """
        std = self.std(process, step)
        if std == 0:
            return Transition(process.step(step, output, sample), 0.0)
        if self._is_sde(process):
            velocity = process.velocity(output)
            return Transition(self._sde_mean(process, step, velocity, sample, std), std)
        clean, noise = process.clean(step, output, sample), process.noise(step, output, sample)
        alpha, sigma = float(process.alphas[step + 1]), float(process.sigmas[step + 1])
        return Transition(alpha * clean + math.sqrt(sigma**2 - std**2) * noise, std)

    def _is_sde(self, process: Process) -> bool:
        return self.flow == "sde" and process.is_flow

    def _ddim_std(self, process: Process, step: int) -> float:
        if self.noise_level > 1:
            raise SpecUnusable(
                f"This model's sampler takes a noise_level of at most 1, not {self.noise_level:g}.",
                hint="Set method.noise_level to 1 or less.",
            )
        (alpha, next_alpha), (sigma, next_sigma) = _around(process, step)
        kept = alpha * next_sigma / (next_alpha * sigma)
        return self.noise_level * next_sigma * math.sqrt(max(0.0, 1 - kept**2))

    def _sde_std(self, process: Process, step: int) -> float:
        _, (t, next_t) = _around(process, step)
        remaining = 1 - (next_t if step == 0 else t)
        return self.noise_level * math.sqrt(t / remaining * (t - next_t))

    def _sde_mean(
        self,
        process: Process,
        step: int,
        velocity: torch.Tensor,
        sample: torch.Tensor,
        std: float,
    ) -> torch.Tensor:
        _, (t, next_t) = _around(process, step)
        # s^2 * dt is -std^2.
        drift = -(std**2) / (2 * t) * (sample + (1 - t) * velocity)
        return sample + (next_t - t) * velocity + drift


def _around(process: Process, step: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Signal before and after a step, and noise before and after it."""
    alphas, sigmas = (
        process.alphas[step : step + 2].tolist(),
        process.sigmas[step : step + 2].tolist(),
    )
    return (alphas[0], alphas[1]), (sigmas[0], sigmas[1])
