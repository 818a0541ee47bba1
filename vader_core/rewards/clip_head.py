"""Rewards by a head on CLIP image embeddings: aesthetic, rainy, snowy, compressibility.

The prompt does not matter. The head lies beside the CLIP model as `Head` writes it, under the name that
the catalogue's `options` give ("head" where they give none); `{"sign": -1}` turns the score of a head
round whose output is smaller for better frames. VADER's aesthetic, weather and compression rewards are
such heads on CLIP ViT-L/14 (arXiv 2407.08737, and its code: Core/*_scorer.py).

Letters: B videos, F frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.rewards.clip import FrameEmbedder, load_vision, read_preprocessing
from vader_core.rewards.head import Head
from vader_core.spec import Prompt
from vader_core.weights import reading, required_folder


class ClipHead:
    """The head's number for a frame, mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        preprocess = read_preprocessing(folder, params)
        self._frames = FrameEmbedder(load_vision(folder, compute), preprocess, compute)
        name = str(row.options.get("head", "head"))
        files = [f"{name}.json", f"{name}.safetensors"]
        with reading(folder, needs=files, expected=f"a head's {files[0]} and {files[1]}"):
            head = Head.from_pretrained(folder, name)
        self._head = head.to(compute.device, compute.precise_dtype).requires_grad_(
            requires_grad=False
        )
        self._sign = -1 if row.options.get("sign") == -1 else 1

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,); the prompts do not matter."""
        del prompts
        image_BFD = self._frames(frames_BFCHW)
        score_N: torch.Tensor = self._head(image_BFD.flatten(0, 1))
        return self._sign * torch.unflatten(score_N, 0, image_BFD.shape[:2]).mean(1)
