"""The diffusion process of a scheduler: what its samples are made of, and what predictions mean.

At the input of denoising step i (from 0) a sample is x_i = alpha_i * clean + sigma_i * noise; index N,
after the last step, is the sampler's end, where alpha is 1 and sigma 0. Three kinds are known:
- flow matching: alpha = 1 - sigma, the denoiser predicts noise - clean (Lipman et al., arXiv 2210.02747),
  or clean - noise where the flow runs from noise to data (Mochi);
- variance preserving: alpha^2 + sigma^2 = 1, it predicts the noise, the clean sample or
  v = alpha * noise - sigma * clean (Salimans & Ho, arXiv 2202.00512);
- variance exploding, as in EDM (Karras et al., arXiv 2206.00364): alpha = 1; v as above, of the sample
  divided by sqrt(1 + sigma^2).

Shapes: R rows of a scheduler's batch, then any dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from vader_core.errors import SpecUnusable

Prediction = Literal["epsilon", "clean", "v", "flow", "flow_to_data"]
_NAMES: dict[str, Prediction] = {
    "epsilon": "epsilon",
    "sample": "clean",
    "v_prediction": "v",
    "flow_prediction": "flow",
}


@dataclass(frozen=True)
class Process:
    """Signal and noise of a sampler's N steps; `alphas` and `sigmas` are float64 (N + 1,) on the CPU."""

    prediction: Prediction
    alphas: torch.Tensor
    sigmas: torch.Tensor

    @property
    def steps(self) -> int:
        return len(self.alphas) - 1

    def noised(self, step: int, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """x_i of a clean sample and standard normal noise."""
        alpha, sigma = self._at(step)
        return alpha * clean + sigma * noise

    def clean(self, step: int, output: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """The clean sample that `output`, predicted of x_i = `sample`, stands for."""
        alpha, sigma = self._at(step)
        if self.prediction == "clean":
            return output
        if self.is_flow:
            return sample - sigma * self.velocity(output)
        if self.prediction == "epsilon":
            return (sample - sigma * output) / alpha
        norm = math.hypot(alpha, sigma)
        return (alpha * sample / norm - sigma * output) / norm

    def noise(self, step: int, output: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """The noise that `output`, predicted of x_i = `sample`, stands for."""
        alpha, sigma = self._at(step)
        if self.prediction == "epsilon":
            return output
        if self.is_flow:
            return sample + alpha * self.velocity(output)
        return (sample - alpha * self.clean(step, output, sample)) / sigma

    def target(self, step: int, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """What the denoiser should predict of x_i = `noised(step, clean, noise)`."""
        alpha, sigma = self._at(step)
        targets = {
            "clean": clean,
            "epsilon": noise,
            "flow": noise - clean,
            "flow_to_data": clean - noise,
            "v": (alpha * noise - sigma * clean) / math.hypot(alpha, sigma),
        }
        return targets[self.prediction]

    def step(self, step: int, output: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        """x_{i+1} by a deterministic first-order step: DDIM, or Euler's for flow matching."""
        clean, noise = self.clean(step, output, sample), self.noise(step, output, sample)
        return self.noised(step + 1, clean, noise)

    @property
    def is_flow(self) -> bool:
        return self.prediction in {"flow", "flow_to_data"}

    def velocity(self, output: torch.Tensor) -> torch.Tensor:
        """A flow-matching denoiser's prediction as noise - clean."""
        return -output if self.prediction == "flow_to_data" else output

    def _at(self, step: int) -> tuple[float, float]:
        return float(self.alphas[step]), float(self.sigmas[step])


def process_of(scheduler: Any) -> Process:
    """The process of a scheduler whose timesteps are set.

    Raises `SpecUnusable` for a scheduler that is of none of the three kinds.
    """
    config, name = scheduler.config, type(scheduler).__name__
    prediction = _NAMES.get(config.get("prediction_type", "flow_prediction"))
    sigmas = getattr(scheduler, "sigmas", None)
    flows = "FlowMatch" in name or config.get("use_flow_sigmas", False)
    if flows and sigmas is not None:
        return _flow(sigmas, len(scheduler.timesteps), to_data=config.get("invert_sigmas", False))
    if prediction in {"epsilon", "clean", "v"} and name.startswith("Euler") and sigmas is not None:
        return _ending(prediction, torch.ones(len(sigmas) - 1), sigmas[:-1])
    if prediction in {"epsilon", "clean", "v"} and hasattr(scheduler, "alphas_cumprod"):
        return _variance_preserving(prediction, scheduler)
    raise SpecUnusable(
        f"What the scheduler {name} makes of noise is not known well enough for this method.",
        hint="Use method reward_gradient with path sampler, or a base model with a flow-matching, DDIM-like or "
        "Euler scheduler.",
    )


def _flow(sigmas: torch.Tensor, steps: int, *, to_data: bool) -> Process:
    used = sigmas[:steps].double().cpu()
    if to_data:
        return _ending("flow_to_data", used, 1 - used)
    return _ending("flow", 1 - used, used)


def _variance_preserving(prediction: Prediction, scheduler: Any) -> Process:
    timesteps = scheduler.timesteps.long().cpu()
    signal = scheduler.alphas_cumprod.double().cpu()[timesteps]
    # VideoCrafter2 shrinks the clean sample by a factor of the timestep.
    scales = getattr(scheduler, "latent_scales", torch.ones(int(timesteps.max()) + 1))
    return _ending(
        prediction, signal.sqrt() * scales.double().cpu()[timesteps], (1 - signal).sqrt()
    )


def _ending(prediction: Prediction, alphas: torch.Tensor, sigmas: torch.Tensor) -> Process:
    return Process(
        prediction,
        torch.cat([alphas.double().cpu(), torch.ones(1, dtype=torch.float64)]),
        torch.cat([sigmas.double().cpu(), torch.zeros(1, dtype=torch.float64)]),
    )
