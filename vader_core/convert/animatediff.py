"""AnimateDiff from its two halves: a Stable Diffusion 1.5 folder and a motion adapter become one pipeline folder.

Source: diffusers' AnimateDiffPipeline and its documentation (docs/source/en/api/pipelines/animatediff.md
of github.com/huggingface/diffusers), from where the scheduler's settings are: DDIM with linear betas,
timesteps from the first to the last, no clipping. The motion layers are written into the UNet once and
for all, so the folder holds no motion adapter beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from vader_core.convert.published import filled, read, refuse, staged
from vader_core.weights import load_model, reading

SOURCES = {
    "base": "a Stable Diffusion 1.5 folder in diffusers' layout, such as stable-diffusion-v1-5/stable-diffusion-v1-5",
    "motion_adapter": "a motion adapter's folder in diffusers' layout, or the file of an AnimateDiff-Lightning adapter",
}


def convert(sources: Mapping[str, Path], out: Path) -> None:
    """Writes the pipeline folder `out`, in float32. Raises `WeightsUnreadable` where a source does not fit."""
    adapter = _motion_adapter(sources["motion_adapter"])
    base, expected = sources["base"], SOURCES["base"]
    unet, vae, text_encoder = (
        load_model(kind, base, dtype=torch.float32, expected=expected, subfolder=name)
        for name, kind in (
            ("unet", UNet2DConditionModel),
            ("vae", AutoencoderKL),
            ("text_encoder", CLIPTextModel),
        )
    )
    with reading(base, needs=["model_index.json"], expected=expected):
        tokenizer = CLIPTokenizer.from_pretrained(
            base, subfolder="tokenizer", local_files_only=True
        )
        motion_unet = UNetMotionModel.from_unet2d(unet, adapter)
    pipeline = AnimateDiffPipeline(vae, text_encoder, tokenizer, motion_unet, None, _scheduler())
    with staged(out) as folder:
        pipeline.save_pretrained(folder)


def _motion_adapter(path: Path) -> Any:
    if path.is_dir():
        return load_model(
            MotionAdapter, path, dtype=torch.float32, expected=SOURCES["motion_adapter"]
        )
    tensors = {name: tensor.float() for name, tensor in read(path).items()}
    with torch.device("meta"):
        adapter = MotionAdapter()
    faults = filled(adapter, tensors, lambda name: name)
    faults += [f"{name} is not known" for name in sorted(set(tensors) - set(adapter.state_dict()))]
    refuse(path, faults, expected="an AnimateDiff-Lightning motion adapter in diffusers' format")
    return adapter


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="linspace",
    )
