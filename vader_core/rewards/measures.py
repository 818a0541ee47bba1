"""Measures of videos that need no weights: motion and diversity."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.spec import Prompt


class Motion:
    """Mean absolute change between neighbouring frames, in [0, 1]: 0 for a still."""

    def __init__(self, row: RewardRow, compute: Compute) -> None:
        del compute
        self.row = row

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,). Raises `ValueError` for videos of one frame."""
        del prompts
        if frames_BFCHW.shape[1] < 2:
            raise ValueError("motion compares neighbouring frames: it needs at least 2 frames")
        return frames_BFCHW.diff(dim=1).abs().flatten(1).mean(1)


class Diversity:
    """Mean absolute pixel distance to the other videos of the same prompt, in [0, 1].

    0 where all seeds give the same video, as they do when a model has collapsed.
    """

    def __init__(self, row: RewardRow, compute: Compute) -> None:
        del compute
        self.row = row

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,); videos are grouped by prompt text.

        Raises `ValueError` where a prompt has a single video.
        """
        videos: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            videos.setdefault(prompt.prompt, []).append(index)
        score_B = frames_BFCHW.new_zeros(len(prompts))
        for text, members in videos.items():
            if len(members) < 2:
                raise ValueError(
                    f"diversity needs at least 2 videos of every prompt: {text!r} has 1"
                )
            pixels_GN = frames_BFCHW[members].flatten(1)
            distance_GG = torch.cdist(pixels_GN, pixels_GN, p=1) / pixels_GN.shape[1]
            score_B[members] = distance_GG.sum(1) / (len(members) - 1)
        return score_B
