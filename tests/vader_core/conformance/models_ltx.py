"""Small random LTX-Video pipelines: the decoder of 0.9.0, and that of 0.9.1 with timestep and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTXImageToVideoPipeline,
    LTXPipeline,
    LTXVideoTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel

from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import CONTEXT, word_tokenizer

_CHANNELS, _TEXT_WIDTH = 8, 16


def build(folder: Path) -> BaseModelRow:
    """LTX-Video 0.9.1: the decoder is told a timestep, and noise is mixed into it."""
    return _saved(folder, "ltx", LTXPipeline, timestep_conditioning=True)


def build_plain(folder: Path) -> BaseModelRow:
    """LTX-Video 0.9.0: a decoder without noise."""
    return _saved(folder, "ltx-plain", LTXPipeline, timestep_conditioning=False)


def build_image(folder: Path) -> BaseModelRow:
    """LTX-Video from an image."""
    return _saved(folder, "ltx-image", LTXImageToVideoPipeline, timestep_conditioning=True)


def _saved(
    folder: Path, name: str, pipeline_class: Any, *, timestep_conditioning: bool
) -> BaseModelRow:
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    pipeline = pipeline_class(
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.95,
            max_shift=2.05,
            base_image_seq_len=1024,
            max_image_seq_len=4096,
            shift_terminal=0.1,
        ),
        vae=_autoencoder(timestep_conditioning=timestep_conditioning),
        text_encoder=text_encoder(len(tokenizer), tokenizer.pad_token_id, _TEXT_WIDTH),
        tokenizer=tokenizer,
        transformer=LTXVideoTransformer3DModel(
            in_channels=_CHANNELS,
            out_channels=_CHANNELS,
            num_attention_heads=2,
            attention_head_dim=12,
            cross_attention_dim=24,
            num_layers=2,
            caption_channels=_TEXT_WIDTH,
        ),
    )
    pipeline.save_pretrained(folder)
    call = {"decode_timestep": 0.05, "decode_noise_scale": 0.025} if timestep_conditioning else {}
    return row(folder, name, "ltx", pipeline_class.__name__, call)


def row(
    folder: Path, name: str, family: str, pipeline_class: str, call: dict[str, Any]
) -> BaseModelRow:
    """A row for a pipeline whose autoencoder takes 32x32 pixels and 8 frames to a latent."""
    return BaseModelRow.model_validate(
        {
            "id": f"small-{name}",
            "version": "1",
            "title": f"A small random {pipeline_class}",
            "family": family,
            "pipeline_class": pipeline_class,
            "weights": {"folder": str(folder)},
            "folder": folder,
            "licence": "none",
            "needs_image": "ImageToVideo" in pipeline_class,
            "sizes": {
                "multiple": 32,
                "min_pixels": 32,
                "max_pixels": 128,
                "frames_multiple": 8,
                "frames_offset": 1,
                "min_frames": 1,
                "max_frames": 17,
            },
            "defaults": {
                "width": 64,
                "height": 32,
                "num_frames": 17,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": 3.0,
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
            "call": call,
        }
    )


def text_encoder(vocabulary: int, pad: int, width: int) -> T5EncoderModel:
    """A two-layer T5 encoder."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=width,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=CONTEXT,
            dropout_rate=0.0,
            pad_token_id=pad,
        )
    )


def _autoencoder(*, timestep_conditioning: bool) -> AutoencoderKLLTXVideo:
    """1+8k frames of 32x32 pixels to 1+k latents of 1x1; noise in the last block where conditioned."""
    vae = AutoencoderKLLTXVideo(
        latent_channels=_CHANNELS,
        block_out_channels=(4, 4, 8, 8),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False),
        decoder_spatio_temporal_scaling=(True, True, True),
        decoder_inject_noise=(timestep_conditioning, False, False, False),
        upsample_residual=(True, True, True),
        upsample_factor=(2, 2, 2),
        timestep_conditioning=timestep_conditioning,
        patch_size=4,
        patch_size_t=1,
    )
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if "per_channel_scale" in name:
                parameter.fill_(0.3)
        vae.latents_mean.copy_(torch.linspace(-0.2, 0.2, _CHANNELS))
        vae.latents_std.copy_(torch.linspace(0.8, 1.2, _CHANNELS))
    return vae
