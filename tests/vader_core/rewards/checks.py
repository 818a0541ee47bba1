"""What every differentiable reward of single frames must pass, and small videos to pass it with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vader_core.catalogue import TINY_WEIGHTS, RewardRow
from vader_core.devices import Compute
from vader_core.rewards import Reward
from vader_core.spec import Prompt

TINY_CLIP = TINY_WEIGHTS / "tiny-clip"
PROMPTS = [Prompt(prompt="a red circle moving left"), Prompt(prompt="a blue square")]


def compute(dtype: torch.dtype = torch.float64) -> Compute:
    return Compute(torch.device("cpu"), dtype)


def row(folder: Path, **options: Any) -> RewardRow:
    return RewardRow(
        id="small",
        version="1",
        title="",
        kind="small",
        differentiable=True,
        per="frame",
        range=(None, None),
        folder=folder,
        options=options,
    )


def videos(height: int = 40, width: int = 64) -> torch.Tensor:
    """Two 8-bit videos (2, 3, 3, H, W) in float64: soft noise, each another."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 5, 8, 3), dtype=np.uint8)
    images = [
        Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC) for image in coarse
    ]
    stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return torch.unflatten(stacked.permute(0, 3, 1, 2).double() / 255, 0, (2, 3))


def images(frames_BFCHW: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    """The frames as 8-bit images, for an image processor."""
    bytes_NHWC = (frames_BFCHW.flatten(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return list(bytes_NHWC.numpy())


def assert_gradient_is_right(reward: Reward, frames: torch.Tensor) -> None:
    """Compares the pixels' gradient with finite differences; `reward` and `frames` are float64."""
    drawn = torch.randn(frames.shape, generator=torch.Generator().manual_seed(1)).double()
    frames = frames.clamp(0.05, 0.95)
    leaf = frames.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reward.score(leaf, PROMPTS).sum(), leaf)
    assert gradient.isfinite().all()
    assert gradient.flatten(2).abs().amax(2).min() > 0
    step = 1e-5
    with torch.no_grad():
        rise = reward.score(frames + step * drawn, PROMPTS).sum()
        fall = reward.score(frames - step * drawn, PROMPTS).sum()
    assert float((gradient * drawn).sum()) == pytest.approx(
        float((rise - fall) / (2 * step)), rel=1e-5
    )


def assert_score_is_of_the_video_alone(
    reward: Reward, frames: torch.Tensor, prompts: Sequence[Prompt] = PROMPTS
) -> None:
    """Neither the other videos of the batch nor the size of the chunks of frames matter."""
    together = reward.score(frames, prompts)
    assert together.shape == (2,)
    alone = [reward.score(frames[i : i + 1], prompts[i : i + 1]) for i in range(2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12, rtol=1e-9)
    chunks = [reward.score(frames[:, i : i + 1], prompts) for i in range(frames.shape[1])]
    assert torch.allclose(together, torch.stack(chunks).mean(0), atol=1e-12, rtol=1e-9)
