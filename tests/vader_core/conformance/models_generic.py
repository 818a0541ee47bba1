"""Small random pipelines that have no family of their own, as an operator's rows would name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AnyFlowPipeline,
    AnyFlowTransformer3DModel,
    AutoencoderKLLTX2Video,
    AutoencoderKLWan,
    FlowMapEulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import Gemma2Config, Gemma2Model, UMT5Config, UMT5EncoderModel

from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

_CHANNELS, _TEXT_WIDTH = 4, 16


def build_sana(folder: Path) -> BaseModelRow:
    """Guidance in one stacked call, frames called `frames`, Wan's causal autoencoder."""
    return _saved_sana(folder, _wan_autoencoder(), multiple=32, frames=4)


def build_sana_whole(folder: Path) -> BaseModelRow:
    """The same with an autoencoder that nothing here has a decoder for."""
    return _saved_sana(folder, _looking_ahead(), multiple=32, frames=8)


def build_any_flow(folder: Path) -> BaseModelRow:
    """A denoiser that sees frames before channels; no negative embeddings where nothing is guided."""
    parts = {
        "transformer": AnyFlowTransformer3DModel(**_wan_options()),
        "scheduler": FlowMapEulerDiscreteScheduler(shift=3.0),
    }
    return _saved_like_wan(folder, AnyFlowPipeline, parts)


def build_vace(folder: Path) -> BaseModelRow:
    """A pipeline that does not fit: it makes one video a call."""
    parts = {
        "transformer": WanVACETransformer3DModel(
            **_wan_options(), vace_layers=[0], vace_in_channels=2 * _CHANNELS + 64
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }
    return _saved_like_wan(folder, WanVACEPipeline, parts)


def _wan_options() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": _CHANNELS,
        "out_channels": _CHANNELS,
        "text_dim": _TEXT_WIDTH,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": 2,
        "cross_attn_norm": True,
        "rope_max_seq_len": 32,
    }


def _saved_like_wan(folder: Path, pipeline_class: Any, parts: dict[str, Any]) -> BaseModelRow:
    tokenizer = word_tokenizer()
    config = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    text_encoder = UMT5EncoderModel(config)
    pipeline_class(
        tokenizer=tokenizer, text_encoder=text_encoder, vae=_wan_autoencoder(), **parts
    ).save_pretrained(folder)
    return row(folder, pipeline_class.__name__, multiple=16, frames=4)


def _saved_sana(folder: Path, vae: Any, *, multiple: int, frames: int) -> BaseModelRow:
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    SanaVideoPipeline(
        tokenizer=tokenizer,
        text_encoder=Gemma2Model(
            Gemma2Config(
                vocab_size=len(tokenizer),
                hidden_size=_TEXT_WIDTH,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
            )
        ),
        vae=vae,
        transformer=SanaVideoTransformer3DModel(
            in_channels=_CHANNELS,
            out_channels=_CHANNELS,
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=_TEXT_WIDTH,
            mlp_ratio=2.0,
            sample_size=8,
            patch_size=(1, 2, 2),
            rope_max_seq_len=32,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    ).save_pretrained(folder)
    return row(folder, "SanaVideoPipeline", multiple=multiple, frames=frames)


def row(folder: Path, pipeline_class: str, *, multiple: int, frames: int) -> BaseModelRow:
    """A row of the generic family; `frames` become one latent frame."""
    return BaseModelRow.model_validate(
        {
            "id": f"small-{folder.name}",
            "version": "1",
            "title": f"A small random {pipeline_class}",
            "family": "generic",
            "pipeline_class": pipeline_class,
            "weights": {"folder": str(folder)},
            "folder": folder,
            "licence": "none",
            "sizes": {
                "multiple": multiple,
                "min_pixels": multiple,
                "max_pixels": 4 * multiple,
                "frames_multiple": frames,
                "frames_offset": 1,
                "min_frames": 1,
                "max_frames": 1 + 4 * frames,
            },
            "defaults": {
                "width": 2 * multiple,
                "height": multiple,
                "num_frames": 1 + 2 * frames,
                "fps": 8,
                "inference_steps": 3,
                "guidance_scale": 4.0,
            },
            "lora_targets": ["to_q", "to_k", "to_v", "to_out.0"],
        }
    )


def _wan_autoencoder() -> AutoencoderKLWan:
    """1+4k frames to 1+k latents, 8x8 pixels to one."""
    torch.manual_seed(1)
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[-0.2, 0.0, 0.1, 0.2],
        latents_std=[0.8, 1.0, 1.1, 1.2],
    )


def _looking_ahead() -> AutoencoderKLLTX2Video:
    """1+8k frames to 1+k latents, 16x16 pixels to one."""
    torch.manual_seed(1)
    vae = AutoencoderKLLTX2Video(
        latent_channels=_CHANNELS,
        block_out_channels=(4, 4, 8, 8),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, True),
        decoder_causal=False,
        decoder_spatial_padding_mode="zeros",
        patch_size=2,
        spatial_compression_ratio=16,
        temporal_compression_ratio=8,
        downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    )
    vae.latents_mean.copy_(torch.linspace(-0.2, 0.2, _CHANNELS))
    vae.latents_std.copy_(torch.linspace(0.8, 1.2, _CHANNELS))
    return vae
