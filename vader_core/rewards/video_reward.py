"""VideoReward, the judge of VideoAlign: visual quality, motion quality and text alignment of a video.

"Improving Video Generation with Human Feedback" (arXiv 2501.13918); facts: inference.py, trainer.py and
vision_process.py of github.com/KwaiVGI/VideoAlign. One linear head without bias reads the states of three
reward tokens; each score is brought to mean 0 and deviation 1 by the authors' constants, and `overall`
is the sum of the three.

The model looks at 2 frames a second, evenly taken. Rewards do not know how fast a video plays: the param
`fps` says it, and where training scores only some of the frames it is the rate of those.

Letters: B videos, F frames, D width.
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

DIMENSIONS = ("visual", "motion", "text")
_FPS = 8.0
_LOOKED_AT_PER_SECOND = 2.0
# As the published code samples: an even number of frames, at least 4 where there are so many.
_MULTIPLE, _FEWEST, _MOST = 2, 4, 768


class VideoReward:
    """The score of one dimension, or the sum of all three."""

    def __init__(self, row: RewardRow, params: Mapping[str, JsonValue], compute: Compute) -> None:
        self.row = row
        folder = required_folder(row.folder, row.id)
        dimension = str(params.get("dimension", "overall"))
        self._asked = DIMENSIONS if dimension == "overall" else (dimension,)
        self._fps = float(str(params.get("fps", _FPS)))
        self._judge = Judge(folder, compute)
        files = [f"{name}.{ending}" for name in self._asked for ending in ("json", "safetensors")]
        with reading(folder, needs=files, expected=EXPECTED):
            heads = [Head.from_pretrained(folder, name) for name in self._asked]
        self._dtype = compute.precise_dtype
        self._heads = [
            head.to(compute.device, self._dtype).requires_grad_(requires_grad=False)
            for head in heads
        ]

    def score(self, frames_BFCHW: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Scores (B,). Videos are judged one by one: their prompts differ in length."""
        config = self._judge.config
        chosen = looked_at(
            frames_BFCHW.shape[1],
            fps=self._fps,
            per_second=config.frames_per_second or _LOOKED_AT_PER_SECOND,
        )
        scores: list[torch.Tensor] = []
        for video, prompt in zip(frames_BFCHW[:, chosen], prompts, strict=True):
            states_KD = self._judge.states(
                video[None], prompt.prompt, kind="video", asked=self._asked
            )[0].to(self._dtype)
            parts = [
                (head(state_D[None])[0] - config.mean.get(name, 0.0)) / config.std.get(name, 1.0)
                for name, head, state_D in zip(self._asked, self._heads, states_KD, strict=True)
            ]
            scores.append(torch.stack(parts).sum())
        return torch.stack(scores)


def looked_at(frames: int, *, fps: float, per_second: float) -> list[int]:
    """Which of a video's frames the model sees; a single one is seen twice."""
    if frames == 1:
        return [0, 0]
    most = min(_MOST, frames) // _MULTIPLE * _MULTIPLE
    wished = min(max(frames / fps * per_second, _FEWEST), most)
    count = round(wished / _MULTIPLE) * _MULTIPLE
    places: list[int] = torch.linspace(0, frames - 1, count).round().long().tolist()
    return places
