"""A small random Open-Sora 1.2 pipeline: windows of 5 frames become 3 latent frames of 4x4 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from transformers import T5Config, T5EncoderModel

from vader_core.catalogue import BaseModelRow
from vader_core.pipelines.open_sora import (
    AutoencoderKLOpenSora,
    OpenSoraPipeline,
    OpenSoraTransformer3DModel,
)
from vader_core.tiny.tokenizers import word_tokenizer

TEXT_WIDTH, TOKENS = 12, 10


def build(folder: Path) -> BaseModelRow:
    pipeline().save_pretrained(folder)
    return BaseModelRow.model_validate(
        {
            "id": "small-open-sora",
            "version": "1",
            "title": "A small random OpenSoraPipeline",
            "family": "open_sora",
            "pipeline_class": "OpenSoraPipeline",
            "weights": {"folder": str(folder)},
            "folder": folder,
            "licence": "none",
            "sizes": {
                "multiple": 4,
                "min_pixels": 8,
                "max_pixels": 64,
                "frames_multiple": 5,
                "frames_offset": 0,
                "min_frames": 5,
                "max_frames": 25,
            },
            "defaults": {
                "width": 20,
                "height": 12,
                "num_frames": 10,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": 3.0,
            },
            "lora_targets": ["qkv", "q_linear", "kv_linear"],
        }
    )


def pipeline(dtype: torch.dtype = torch.float32) -> OpenSoraPipeline:
    """Its rows of text are 10 tokens of the tiny world's words; its learned text is 12 wide."""
    tokenizer = word_tokenizer()
    text_encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=TEXT_WIDTH,
            d_kv=4,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    parts = [stirred(part, seed) for seed, part in enumerate([text_encoder, denoiser(), vae()])]
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    made = OpenSoraPipeline(tokenizer, *(part.to(dtype) for part in parts), scheduler)
    made.set_progress_bar_config(disable=True)
    return made


def denoiser() -> OpenSoraTransformer3DModel:
    return OpenSoraTransformer3DModel(
        hidden_size=24,
        depth=2,
        num_heads=2,
        mlp_ratio=2.0,
        caption_channels=TEXT_WIDTH,
        model_max_length=TOKENS,
        input_sq_size=16,
    )


def vae() -> AutoencoderKLOpenSora:
    return AutoencoderKLOpenSora(
        spatial_block_out_channels=(4, 8, 8),
        spatial_layers_per_block=1,
        temporal_width=4,
        temporal_blocks=1,
        temporal_multipliers=(1, 2, 2),
        temporal_halves=(False, True),
        norm_num_groups=2,
        micro_frame_size=5,
    )


def stirred(model: Any, seed: int) -> Any:
    """`model` with every weight drawn anew, so that no part of it is an identity by its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.state_dict().items():
            if name == "rope.freqs":  # constants
                continue
            drawn = torch.randn(parameter.shape, generator=generator)
            is_scale = parameter.ndim == 1 and name.endswith("weight")
            fan = parameter[0].numel() if parameter.ndim > 1 else 16
            parameter.copy_(drawn / fan**0.5 + (1.0 if is_scale else 0.0))
    return model.eval().requires_grad_(requires_grad=False)
