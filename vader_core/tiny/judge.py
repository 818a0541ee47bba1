"""The independent judge: a small 3D convolution net that names colour, shape and direction of a video.

It only measures. No reward is made from it, so that an alignment run cannot learn to please it, and
its architecture differs from every reward model's, so that it does not share their blind spots.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vader_core.tiny import world

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class JudgeConfig:
    """The judge's widths and the names of its classes."""

    width: int = 24
    frame_size: int = 32
    colours: tuple[str, ...] = world.COLOUR_NAMES
    shapes: tuple[str, ...] = world.SHAPES
    directions: tuple[str, ...] = world.DIRECTION_NAMES


class Verdict(NamedTuple):
    """Logits for colour (B, 6), shape (B, 3) and direction (B, 4)."""

    colour: torch.Tensor
    shape: torch.Tensor
    direction: torch.Tensor


class Judge(nn.Module):
    """Judges videos of any number of frames from 4 up, at 32x32 pixels."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.look = nn.Sequential(
            _block(3, width, stride=(1, 2, 2)),
            _block(width, 2 * width, stride=(1, 2, 2)),
            _block(2 * width, 3 * width, stride=(1, 2, 2)),
        )
        # The grid is kept (4x4 cells of a 32x32 frame): direction is a change of place over time.
        cells = (config.frame_size // 8) ** 2
        self.place = nn.Linear(3 * width * cells, 64)
        self.motion = nn.Sequential(
            nn.Conv1d(64, 64, 3), nn.SiLU(), nn.Conv1d(64, 64, 1), nn.SiLU()
        )
        self.colour = nn.Linear(3 * width, len(config.colours))
        self.shape = nn.Linear(3 * width, len(config.shapes))
        self.direction = nn.Linear(64, len(config.directions))

    def forward(self, frames_BFCHW: torch.Tensor) -> Verdict:
        """Logits for frames in [0, 1]."""
        seen = self.look((frames_BFCHW * 2 - 1).transpose(1, 2))
        pooled = seen.amax((2, 3, 4))
        place_BFD = self.place(seen.permute(0, 2, 1, 3, 4).flatten(2))
        motion = self.motion(place_BFD.transpose(1, 2)).mean(2)
        return Verdict(self.colour(pooled), self.shape(pooled), self.direction(motion))

    @torch.no_grad()
    def name(self, frames_BFCHW: torch.Tensor) -> list[world.Scene]:
        """What the judge sees in each video."""
        colour, shape, direction = (logits.argmax(1).tolist() for logits in self(frames_BFCHW))
        config = self.config
        return [
            world.Scene(config.colours[c], config.shapes[s], config.directions[d])
            for c, s, d in zip(colour, shape, direction, strict=True)
        ]

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self.config), indent=2) + "\n"
        (target / _CONFIG).write_text(text, encoding="utf-8")
        save_file(self.state_dict(), target / _WEIGHTS)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Judge:
        """Loads a folder written by `save_pretrained`, in float32 and evaluation mode."""
        fields = json.loads(Path(folder, _CONFIG).read_text(encoding="utf-8"))
        names = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        judge = cls(JudgeConfig(**{**fields, **names}))
        state = {key: value.float() for key, value in load_file(Path(folder, _WEIGHTS)).items()}
        judge.load_state_dict(state)
        return judge.eval()


def _block(inward: int, outward: int, *, stride: tuple[int, int, int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inward, outward, (1, 3, 3), stride=stride, padding=(0, 1, 1)),
        nn.GroupNorm(4, outward),
        nn.SiLU(),
        nn.Conv3d(outward, outward, (3, 3, 3), padding=(1, 1, 1)),
        nn.GroupNorm(4, outward),
        nn.SiLU(),
    )
