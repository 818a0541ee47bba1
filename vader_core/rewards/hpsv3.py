"""HPSv3: Qwen2-VL 7B judges how people would like a picture made for the prompt.

"HPSv3: Towards Wide-Spectrum Human Preference Score" (arXiv 2508.03789); facts: hpsv3/inference.py and
hpsv3/model/qwen2vl_trainer.py of github.com/MizzenAI/HPSv3. A head of three layers reads the state of the
reward token and gives mean and deviation of a normal distribution; the score is the mean.

Letters: B videos, F frames, K reward tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import JsonValue

from vader_core.catalogue import RewardRow
from vader_core.devices import Compute
from vader_core.rewards.head import Head
from vader_core.rewards.qwen2_vl import EXPECTED, Judge
from vader_core.spec import Prompt
from vader_core.weights import reading, required_folder

DIMENSION = "preference"


class Hpsv3:
    """The judge's score of a frame for the prompt, mean over the frames."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        del params
        self.row = row
        folder = required_folder(row.folder, row.id)
        self._judge = Judge(folder, compute)
        files = [f"{DIMENSION}.json", f"{DIMENSION}.safetensors"]
        with reading(folder, needs=files, expected=EXPECTED):
            head = Head.from_pretrained(folder, DIMENSION)
        self._dtype = compute.precise_dtype
        self._head = head.to(compute.device, self._dtype).requires_grad_(requires_grad=False)

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,). The frames of a video are judged together: they share their prompt."""
        scores: list[torch.Tensor] = []
        for frames_FCHW, prompt in zip(frames_BFCHW, prompts, strict=True):
            states_FKD = self._judge.states(
                frames_FCHW[:, None], prompt.prompt, kind="image", asked=[DIMENSION]
            )
            scores.append(self._head(states_FKD[:, 0].to(self._dtype)).mean())
        return torch.stack(scores)
