"""Videos from the tiny base models through their own pipelines, and what the judge sees in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import DiffusionPipeline, TextToVideoSDPipeline, WanPipeline
from PIL import Image

from vader_core.tiny import world
from vader_core.tiny.judge import Judge
from vader_core.tiny.tokenizers import CONTEXT

TinyPipeline: TypeAlias = TextToVideoSDPipeline | WanPipeline


@dataclass(frozen=True)
class Settings:
    """How a tiny base model is sampled by default."""

    num_frames: int
    steps: int
    guidance: float
    extra: dict[str, Any]


UNET_SETTINGS = Settings(num_frames=8, steps=10, guidance=4.5, extra={"eta": 0.0})
# The text tower of tiny-wan reads 16 tokens; WanPipeline would pad to 512 and waste most of its time.
WAN_SETTINGS = Settings(
    num_frames=9, steps=10, guidance=5.0, extra={"max_sequence_length": CONTEXT}
)


def default_settings(pipeline: TinyPipeline) -> Settings:
    """The default sampler settings of a tiny pipeline."""
    return WAN_SETTINGS if isinstance(pipeline, WanPipeline) else UNET_SETTINGS


def load(folder: str | Path) -> TinyPipeline:
    """A tiny pipeline from its folder, without progress bars."""
    pipeline: TinyPipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def sample(
    pipeline: TinyPipeline, prompts: list[str], *, settings: Settings, seed: int, chunk: int = 16
) -> torch.Tensor:
    """Videos (B, F, C, H, W) in [0, 1] on the CPU, one per prompt; prompt i has seed `seed + i`."""
    videos = []
    for begin in range(0, len(prompts), chunk):
        part = prompts[begin : begin + chunk]
        generators = [torch.Generator().manual_seed(seed + begin + i) for i in range(len(part))]
        output = pipeline(
            prompt=part,
            height=world.SIZE,
            width=world.SIZE,
            num_frames=settings.num_frames,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            generator=generators,
            output_type="pt",
            **settings.extra,
        )
        videos.append(output.frames.float().cpu())
    return torch.cat(videos)


@dataclass(frozen=True)
class Accuracy:
    """The parts of videos in which the judge sees what the prompt asks for."""

    colour: float
    shape: float
    direction: float
    look: float  # colour and shape together

    def __str__(self) -> str:
        names = ("colour", "shape", "direction", "look")
        return ", ".join(f"{name} {100 * getattr(self, name):.1f} %" for name in names)


def judge_videos(judge: Judge, frames_BFCHW: torch.Tensor, prompts: list[str]) -> Accuracy:
    """Compares what the judge sees with what the prompts ask for."""
    pairs = list(zip(judge.name(frames_BFCHW), map(world.parse, prompts), strict=True))
    colour = [seen.colour == asked.colour for seen, asked in pairs]
    shape = [seen.shape == asked.shape for seen, asked in pairs]
    direction = [seen.direction == asked.direction for seen, asked in pairs]
    look = [a and b for a, b in zip(colour, shape, strict=True)]
    share = [sum(right) / len(pairs) for right in (colour, shape, direction, look)]
    return Accuracy(*share)


def contact_sheet(frames_BFCHW: torch.Tensor, path: str | Path, *, zoom: int = 2) -> None:
    """A PNG with one video per row and one frame per column."""
    rows = frames_BFCHW.clamp(0, 1).permute(0, 3, 1, 4, 2)
    pixels = (rows.flatten(2, 3).flatten(0, 1) * 255).round().byte().numpy()
    picture = Image.fromarray(pixels)
    size = (picture.width * zoom, picture.height * zoom)
    picture.resize(size, Image.Resampling.NEAREST).save(path)
