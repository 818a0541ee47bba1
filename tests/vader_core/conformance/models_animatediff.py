"""A small random AnimateDiff pipeline: an image UNet with a motion adapter."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)

from tests.vader_core.conformance.frame_by_frame import (
    WIDTH,
    autoencoder,
    clip_text_encoder,
    row,
    stir_zeros,
)
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import clip_tokenizer


def build(folder: Path) -> BaseModelRow:
    torch.manual_seed(0)
    unet = UNetMotionModel.from_unet2d(image_unet(), motion_adapter())
    stir_zeros(unet)
    tokenizer = clip_tokenizer()
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        timestep_spacing="linspace",
        steps_offset=1,
    )
    pipeline = AnimateDiffPipeline(
        autoencoder(), clip_text_encoder(tokenizer), tokenizer, unet, None, scheduler
    )
    pipeline.save_pretrained(folder)
    return row(folder, "animatediff", pipeline)


def build_few_step(folder: Path) -> BaseModelRow:
    """As AnimateDiff-Lightning: Euler from the last timestep, no guidance."""
    whole = build(folder)
    return whole.model_copy(
        update={
            "id": "small-animatediff-few-step",
            "scheduler": {
                "_class_name": "EulerDiscreteScheduler",
                "timestep_spacing": "trailing",
            },
            "defaults": whole.defaults.model_copy(
                update={"inference_steps": 2, "guidance_scale": 1.0}
            ),
        }
    )


def image_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def motion_adapter() -> MotionAdapter:
    return MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
        motion_max_seq_length=8,
    )
