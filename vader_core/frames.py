"""Which frames of a video are decoded and scored in training.

Letters: B videos, F chosen frames. By linearity the mean over random frames is an unbiased estimate
of the mean over all frames for rewards that score frame by frame (arXiv 2407.08737, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vader_core.spec import Frames


def choose(
    selection: Frames, *, num_frames: int, generators: Sequence[torch.Generator]
) -> torch.Tensor:
    """The chosen frame numbers, int64 (B, F), rising within a video; F is the same for all videos.

    `generators` holds one CPU generator per video and so says how many there are; mode `random`
    draws from them, the other modes leave them alone. Modes other than `random` choose the same
    frames for every video.
    """
    if selection.mode == "random":
        count = min(selection.n or 1, num_frames)
        drawn = [
            torch.randperm(num_frames, generator=generator)[:count] for generator in generators
        ]
        return torch.stack([chosen.sort().values for chosen in drawn])
    return torch.tensor(_fixed(selection, num_frames)).repeat(len(generators), 1)


def every_frame(*, num_frames: int, batch: int) -> torch.Tensor:
    """All frame numbers, int64 (B, F) with F = `num_frames`."""
    return torch.arange(num_frames).repeat(batch, 1)


def _fixed(selection: Frames, num_frames: int) -> list[int]:
    if selection.mode == "first_middle_last":
        return sorted({0, (num_frames - 1) // 2, num_frames - 1})
    if selection.mode == "every_nth":
        return list(range(0, num_frames, selection.n or 1))
    if selection.mode == "index":
        return [selection.index or 0]
    return list(range(num_frames))
