"""Which frames of a video are decoded and scored in training, and what each of them counts for.

Letters: B videos, F chosen frames. By linearity the mean over random frames is an unbiased estimate
of the mean over all frames for rewards that score frame by frame (arXiv 2407.08737, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vader_core.method_spec import Frames


@dataclass(frozen=True)
class Chosen:
    """Frames of B videos: `numbers_BF` are int64 and rise within a video.

    `weights_BF` says what each counts for; rows sum to 1; None where all count alike.
    """

    numbers_BF: torch.Tensor
    weights_BF: torch.Tensor | None = None


def chosen(selection: Frames, *, num_frames: int, generators: Sequence[torch.Generator]) -> Chosen:
    """The frames that `choose` takes, weighed."""
    numbers_BF = choose(selection, num_frames=num_frames, generators=generators)
    return Chosen(numbers_BF, weights(selection, numbers_BF, num_frames=num_frames))


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
        return torch.stack([numbers.sort().values for numbers in drawn])
    return torch.tensor(_fixed(selection, num_frames)).repeat(len(generators), 1)


def weights(selection: Frames, numbers_BF: torch.Tensor, *, num_frames: int) -> torch.Tensor | None:
    """What every chosen frame of a video of `num_frames` counts for, float64 (B, F), rows that sum to 1.

    None where all count alike. InstructVideo (arXiv 2312.12490) weighs by exp(-lambda * distance) with the
    distance from frame F // 2 counted in frames and lambda 1, and divides by the number of frames. Here
    the distance is from the exact middle and in halves of the video, so that a weight does not change
    with the video's length: lambda is `centre_decay` * 2 / F.
    """
    if not selection.centre_decay:
        return None
    distance_BF = (numbers_BF.double() - (num_frames - 1) / 2).abs() / (num_frames / 2)
    return torch.softmax(-selection.centre_decay * distance_BF, dim=1)


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
