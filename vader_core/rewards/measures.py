"""Measures of videos that need no weights: motion, diversity, sharpness, closeness to a reference.

Letters: B videos, F frames, N images, G videos of one prompt, H and W sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.prompts import prompt_id
from vader_core.rewards.preprocessing import Preprocessing
from vader_core.spec import Prompt

# Luma of R'G'B' (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)
_BICUBIC = 3
# Sharpness is measured at this shorter edge, so that videos of different sizes can be compared.
_SHORTER_EDGE = 256


class Motion:
    """Mean absolute change between neighbouring frames, in [0, 1]: 0 for a still."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params, compute
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

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params, compute
        self.row = row

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,); videos are grouped by prompt: its text and its first image.

        Raises `ValueError` where a prompt has a single video.
        """
        videos: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            videos.setdefault(prompt_id(prompt), []).append(index)
        score_B = frames_BFCHW.new_zeros(len(prompts))
        for members in videos.values():
            if len(members) < 2:
                text = prompts[members[0]].prompt
                raise ValueError(
                    f"diversity needs at least 2 videos of every prompt: {text!r} has 1"
                )
            pixels_GN = frames_BFCHW[members].flatten(1)
            distance_GG = torch.cdist(pixels_GN, pixels_GN, p=1) / pixels_GN.shape[1]
            score_B[members] = distance_GG.sum(1) / (len(members) - 1)
        return score_B


class Sharpness:
    """Variance of the Laplacian of a frame's luma, mean over the frames: 0 for plain frames.

    The focus measure of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy: a
    comparative study" (ICPR 2000), with the Laplacian of the four neighbours, away from the border.
    Frames are first brought to one size: detail finer than that does not count.
    """

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params
        self.row = row
        self._dtype = compute.precise_dtype
        self._resize = Preprocessing(_SHORTER_EDGE, None, _BICUBIC, (0.0,), (1.0,))

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,); the prompts do not matter."""
        del prompts
        weights = frames_BFCHW.new_tensor(_LUMA, dtype=self._dtype).view(3, 1, 1)
        luma_N1HW = (frames_BFCHW.flatten(0, 1).to(self._dtype) * weights).sum(1, keepdim=True)
        luma_NHW = self._resize(luma_N1HW)[:, 0]
        rows, columns = luma_NHW[:, :, 1:-1], luma_NHW[:, 1:-1]
        neighbours = rows[:, :-2] + rows[:, 2:] + columns[:, :, :-2] + columns[:, :, 2:]
        laplacian_NHW = neighbours - 4 * luma_NHW[:, 1:-1, 1:-1]
        score_N = laplacian_NHW.flatten(1).var(1, correction=0)
        return torch.unflatten(score_N, 0, frames_BFCHW.shape[:2]).mean(1)


class ReferenceDistance:
    """How near a video stays to the base model's own of the same prompt and seed, in [0, 1].

    1 minus the mean absolute pixel distance: 1 for the base model itself, so that a guard's
    `min_ratio_to_base` of r allows a mean distance of 1 - r. A video that was driven far from anything
    the base model would have made is a sign that the reward was exploited.
    """

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params, compute
        self.row = row

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Raises `ValueError`: a video alone has no distance."""
        del frames_BFCHW, prompts
        raise ValueError(f"{self.row.id} needs the base model's videos: it can only be a guard")

    def compare(self, frames_BFCHW: torch.Tensor, references_BFCHW: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of videos beside their references."""
        return 1 - (frames_BFCHW - references_BFCHW).abs().flatten(1).mean(1)
