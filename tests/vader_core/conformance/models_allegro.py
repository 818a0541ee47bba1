"""A small random Allegro pipeline, and smaller tiles for its autoencoder than its class can be saved with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AllegroPipeline,
    AllegroTransformer3DModel,
    AutoencoderKLAllegro,
    EulerAncestralDiscreteScheduler,
)

from tests.vader_core.conformance.models_ltx import text_encoder
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

_TEXT_WIDTH = 16


def build(folder: Path) -> BaseModelRow:
    """For videos of two tiles after one another and three side by side, once `shrink_tiles` was called."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    AllegroPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder(len(tokenizer), tokenizer.pad_token_id, _TEXT_WIDTH),
        vae=autoencoder(),
        transformer=AllegroTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=24,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            cross_attention_dim=48,
            sample_width=4,
            sample_height=2,
            sample_frames=3,
            caption_channels=_TEXT_WIDTH,
        ),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        ),
    ).save_pretrained(folder)
    return BaseModelRow.model_validate(
        {
            "id": "small-allegro",
            "version": "1",
            "title": "A small random AllegroPipeline",
            "family": "allegro",
            "pipeline_class": "AllegroPipeline",
            "weights": {"folder": str(folder)},
            "folder": folder,
            "licence": "none",
            "sizes": {
                "multiple": 16,
                "min_pixels": 16,
                "max_pixels": 32,
                "frames_multiple": 4,
                "frames_offset": 0,
                "min_frames": 8,
                "max_frames": 12,
            },
            "defaults": {
                "width": 32,
                "height": 16,
                "num_frames": 12,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": 3.0,
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
        }
    )


def autoencoder() -> AutoencoderKLAllegro:
    """4 frames of 8x8 pixels to one latent; groups of 2 channels are normalised together."""
    return AutoencoderKLAllegro(
        block_out_channels=(4, 4, 4, 4),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        scaling_factor=0.5,
    )


def shrink_tiles(vae: Any) -> None:
    """Tiles of 8 frames of 16x16 pixels, every 4 frames, 8 rows and 8 columns.

    The class fixes the overlaps in pixels; a tile of the smallest size that they allow takes seconds.
    """
    vae.kernel, vae.stride = (8, 16, 16), (4, 8, 8)
