"""Clips of the length that a video model was trained on, out of videos of any length.

Letters: B videos, F frames, C channels, H and W sizes.
"""

from __future__ import annotations

import torch


def spread(frames_BFCHW: torch.Tensor, count: int) -> torch.Tensor:
    """`count` frames at even distances from the first to the last; short videos show frames twice."""
    last = frames_BFCHW.shape[1] - 1
    chosen = torch.linspace(0, last, count).round().long().to(frames_BFCHW.device)
    return frames_BFCHW.index_select(1, chosen)
