"""Faults for drawn frames: light ones that a classifier must see through, and ugly ones to be disliked.

All functions take frames (N, C, H, W) in [0, 1] on the CPU and return new frames in [0, 1].
"""

from __future__ import annotations

import torch
from torch.nn import functional

from vader_core.tiny import world

FAULTS = ("blur", "noise", "washed out", "broken")


def soften(frames_BFCHW: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Videos as a weak decoder would show them: somewhat blurred, noisy, brighter or darker."""
    count = len(frames_BFCHW)
    flat = frames_BFCHW.flatten(0, 1)
    blurred_BFCHW = _blur(flat, width=3).view_as(frames_BFCHW)
    mix, gain, noise = (torch.rand(count, 1, 1, 1, 1, generator=generator) for _ in range(3))
    # Half of the videos stay sharp, and half stay free of noise.
    mix, noise = (mix - 0.5).clamp(min=0) * 2, (noise - 0.5).clamp(min=0) * 0.16
    frames = frames_BFCHW.lerp(blurred_BFCHW, mix) * (0.85 + 0.3 * gain)
    grain = torch.randn(frames.shape, generator=generator)
    return (frames + noise * grain).clamp(0, 1)


def damage(
    frames_NCHW: torch.Tensor, fault_N: torch.Tensor, *, generator: torch.Generator
) -> torch.Tensor:
    """Frames with the fault `FAULTS[fault_N]`, each in a random strength."""
    strength = torch.rand(len(frames_NCHW), 1, 1, 1, generator=generator)
    blurred = frames_NCHW.lerp(_blur(_blur(frames_NCHW, width=5), width=5), 0.5 + 0.5 * strength)
    grain = torch.randn(frames_NCHW.shape, generator=generator)
    noisy = (frames_NCHW + (0.08 + 0.2 * strength) * grain).clamp(0, 1)
    grey = frames_NCHW.mean((1, 2, 3), keepdim=True) * 0.5 + 0.2
    washed = frames_NCHW.lerp(grey.expand_as(frames_NCHW), 0.35 + 0.45 * strength)
    broken = _break(frames_NCHW, generator=generator)
    choices = torch.stack([blurred, noisy, washed, broken])
    return choices[fault_N, torch.arange(len(frames_NCHW))]


def _blur(frames_NCHW: torch.Tensor, *, width: int) -> torch.Tensor:
    edge = width // 2
    padded = functional.pad(frames_NCHW, (edge,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, width, stride=1)


def _break(frames_NCHW: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Tears the picture: every other band of 4 rows is shifted sideways by 4 to 8 pixels."""
    shift = int(torch.randint(4, 9, (), generator=generator))
    torn = frames_NCHW.roll(shift, dims=-1)
    bands = (torch.arange(world.SIZE) // 4 % 2 == 0)[:, None]
    return torch.where(bands, torn, frames_NCHW)
