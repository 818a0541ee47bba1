"""Small random LTX-2 pipelines: with the guidance of LTX-2.0, and with the perturbed calls of LTX-2.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    SiglipVisionConfig,
)

from tests.vader_core.conformance.models_ltx import row
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

_CHANNELS, _TEXT_WIDTH, _TEXT_LAYERS = 4, 16, 2
# What LTX-2.0 samples with: no perturbed calls, and the audio guided as the video is.
GUIDED_AS_2_0: dict[str, Any] = {
    "stg_scale": 0.0,
    "modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_scale": None,
    "audio_stg_scale": None,
    "audio_modality_scale": None,
    "audio_guidance_rescale": None,
    "use_cross_timestep": False,
}


def build(folder: Path) -> BaseModelRow:
    """LTX-2.0: one stacked call a step."""
    _save(folder)
    return _row(folder, "ltx2", GUIDED_AS_2_0)


def build_perturbed(folder: Path) -> BaseModelRow:
    """LTX-2.3: a stacked call, one with a skipped block, one with separated modalities."""
    _save(folder)
    return _row(folder, "ltx2-perturbed", {"spatio_temporal_guidance_blocks": [1]})


def _row(folder: Path, name: str, call: dict[str, Any]) -> BaseModelRow:
    targets = [
        f"{attention}.{layer}"
        for attention in ("attn1", "attn2", "audio_to_video_attn")
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
    ]
    found = row(folder, name, "ltx2", "LTX2Pipeline", call)
    return found.model_copy(update={"lora_targets": targets, "revisitable": False})


def _save(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    audio_vae = _audio_autoencoder()
    LTX2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(),
        audio_vae=audio_vae,
        text_encoder=_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        connectors=_connectors(),
        transformer=_transformer(),
        vocoder=_vocoder(audio_vae),
    ).save_pretrained(folder)


def _transformer() -> LTX2VideoTransformer3DModel:
    return LTX2VideoTransformer3DModel(
        in_channels=_CHANNELS,
        out_channels=_CHANNELS,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=_TEXT_WIDTH,
        rope_double_precision=False,
        rope_type="split",
    )


def _connectors() -> LTX2TextConnectors:
    return LTX2TextConnectors(
        caption_channels=_TEXT_WIDTH,
        text_proj_in_factor=_TEXT_LAYERS + 1,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        rope_type="split",
    )


def _text_encoder(vocabulary: int) -> Gemma3ForConditionalGeneration:
    text = Gemma3TextConfig(
        vocab_size=vocabulary + 3,
        hidden_size=_TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=_TEXT_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=8,
    )
    vision = SiglipVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=28,
        patch_size=14,
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=1,
        boi_token_index=vocabulary,
        eoi_token_index=vocabulary + 1,
        image_token_index=vocabulary + 2,
    )
    return Gemma3ForConditionalGeneration(config)


def _autoencoder() -> AutoencoderKLLTX2Video:
    """1+8k frames of 32x32 pixels to 1+k latents of 1x1; the decoder looks ahead."""
    vae = AutoencoderKLLTX2Video(
        latent_channels=_CHANNELS,
        block_out_channels=(4, 4, 8, 8),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, True),
        decoder_causal=False,
        decoder_spatial_padding_mode="zeros",
        patch_size=4,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
        downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
    )
    vae.latents_mean.copy_(torch.linspace(-0.2, 0.2, _CHANNELS))
    vae.latents_std.copy_(torch.linspace(0.8, 1.2, _CHANNELS))
    return vae


def _audio_autoencoder() -> AutoencoderKLLTX2Audio:
    vae = AutoencoderKLLTX2Audio(
        base_channels=4,
        output_channels=2,
        ch_mult=(1,),
        num_res_blocks=1,
        resolution=32,
        latent_channels=2,
        mel_bins=8,
    )
    vae.latents_std.fill_(1.5)
    return vae


def _vocoder(audio_vae: AutoencoderKLLTX2Audio) -> LTX2Vocoder:
    return LTX2Vocoder(
        in_channels=audio_vae.config.output_channels * audio_vae.config.mel_bins,
        hidden_channels=8,
        out_channels=2,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    )
