"""A step of a toy diffusion process in one dimension: every video is one number."""

from __future__ import annotations

import torch

from vader_core.methods.noising import Point
from vader_core.process import Prediction, Process


def process_of(prediction: Prediction, alpha: float = 0.6, sigma: float = 0.8) -> Process:
    """One step at the noise level of `alpha` and `sigma`; a flow's are 1 - 0.8 and 0.8."""
    alpha = 1 - sigma if prediction.startswith("flow") else alpha
    pair = torch.tensor([[alpha, 1.0], [sigma, 0.0]], dtype=torch.float64)
    return Process(prediction, *pair)


def point(
    process: Process,
    clean_B: torch.Tensor,
    noise_B: torch.Tensor,
    *,
    factor: torch.Tensor | float = 0.0,
    bias: torch.Tensor | float = 0.0,
) -> Point:
    """What the linear denoiser `factor * sample + bias` predicts of noised videos."""
    clean, noise = clean_B[:, None], noise_B[:, None]
    sample = process.noised(0, clean, noise)
    output = factor * sample + bias
    return Point(0, process, slice(0, len(clean_B)), clean, noise, sample, output, None)


def normal(count: int, index: int = 0) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(index)
    return torch.randn(count, generator=drawn, dtype=torch.float64)
