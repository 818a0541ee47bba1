"""Small mp4 files of the tiny world, large enough that they are stored pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import torch

from vader_core.video_files import write_mp4

SIZE = 128


def frames_of(
    colour: tuple[float, float, float], *, frames: int = 4, speed: int = 6
) -> torch.Tensor:
    """(F, C, H, W) in [0, 1]: a square of that colour that goes right over a dark ground."""
    frames_FCHW = torch.full((frames, 3, SIZE, SIZE), 0.1)
    for number in range(frames):
        left = 20 + speed * number
        square = torch.tensor(colour)[:, None, None]
        frames_FCHW[number, :, 40:88, left : left + 48] = square
    return frames_FCHW


def write(path: Path, frames_FCHW: torch.Tensor) -> Path:
    write_mp4(path, frames_FCHW, fps=8)
    return path


RED, BLUE = (0.92, 0.16, 0.14), (0.18, 0.34, 0.95)
