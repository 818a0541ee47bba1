"""What the small pipelines whose autoencoders see one frame share: row, autoencoder, text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import CONTEXT

WIDTH = 16  # of a text embedding


def row(folder: Path, family: str, pipeline: Any, *, frames: int = 0) -> BaseModelRow:
    """A row for a pipeline whose latents have a fourth of the pixels' height and width.

    `frames` is the only legal number of frames; 0 where any is legal.
    """
    return BaseModelRow.model_validate(
        {
            "id": f"small-{family}",
            "version": "1",
            "title": f"A small random {type(pipeline).__name__}",
            "family": family,
            "pipeline_class": type(pipeline).__name__,
            "weights": {"folder": str(folder)},
            "folder": folder,
            "licence": "none",
            "sizes": {
                "multiple": 8,
                "min_pixels": 16,
                "max_pixels": 64,
                "frames_multiple": 1,
                "frames_offset": 0,
                "min_frames": frames or 1,
                "max_frames": frames or 8,
            },
            "defaults": {
                "width": 24,
                "height": 16,
                "num_frames": 4,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": 3.0,
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
        }
    )


def autoencoder() -> AutoencoderKL:
    """An image autoencoder that halves height and width twice."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=5.0,
    )


def clip_text_encoder(tokenizer: Any) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def stir_zeros(model: torch.nn.Module) -> None:
    """Gives layers that begin at zero values, without which frames would not see each other."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
