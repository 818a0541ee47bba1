"""Small random HunyuanVideo 1.5 pipelines, from text and from an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
)
from transformers import (
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tests.vader_core.conformance.small_parts import livelier, small_row
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

_CHANNELS, _WIDTH, _GLYPH_WIDTH, _IMAGE_WIDTH = 4, 16, 8, 12
_SIZE = 32
# Prompts begin after the system's message; the pipelines cut off this many tokens.
_BEFORE_PROMPT = 108
_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    + "a " * _BEFORE_PROMPT
    + "{% else %}{{ message['content'] }}{% endif %}{% endfor %} moving"
)


def build(folder: Path) -> BaseModelRow:
    return _saved(folder, "hunyuan_video_15", HunyuanVideo15Pipeline)


def build_image(folder: Path) -> BaseModelRow:
    return _saved(
        folder,
        "hunyuan_video_15_image",
        HunyuanVideo15ImageToVideoPipeline,
        image_encoder=_image_encoder(),
        feature_extractor=SiglipImageProcessorPil(size={"height": _SIZE, "width": _SIZE}),
    )


def autoencoder() -> AutoencoderKLHunyuanVideo15:
    """1 + 4k frames to 1 + k latent ones, 8x8 pixels to one."""
    torch.manual_seed(2)
    return AutoencoderKLHunyuanVideo15(
        latent_channels=_CHANNELS,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        spatial_compression_ratio=8,
    )


def _saved(folder: Path, family: str, pipeline_class: Any, **parts: Any) -> BaseModelRow:
    tokenizer = _tokenizer()
    torch.manual_seed(1)
    pipeline_class(
        text_encoder=_text_encoder(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=_transformer(),
        vae=livelier(autoencoder()),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=_glyph_encoder(),
        tokenizer_2=ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=4.0),
        **parts,
    ).save_pretrained(folder)
    return small_row(
        folder, family, pipeline_class, size=(_SIZE, _SIZE), num_frames=9, guidance_scale=4.0
    )


def _transformer() -> HunyuanVideo15Transformer3DModel:
    torch.manual_seed(0)
    model = HunyuanVideo15Transformer3DModel(
        in_channels=2 * _CHANNELS + 1,
        out_channels=_CHANNELS,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=2,
        num_refiner_layers=1,
        text_embed_dim=_WIDTH,
        text_embed_2_dim=_GLYPH_WIDTH,
        image_embed_dim=_IMAGE_WIDTH,
        rope_axes_dim=(2, 4, 4),
        target_size=_SIZE,
    )
    return livelier(model)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = _CHAT
    return tokenizer


def _text_encoder(vocabulary: int) -> Qwen2_5_VLTextModel:
    """The pipelines take the states before the last two layers."""
    config = Qwen2_5_VLTextConfig(
        vocab_size=vocabulary,
        hidden_size=_WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4},
    )
    return Qwen2_5_VLTextModel(config)


def _glyph_encoder() -> T5EncoderModel:
    config = T5Config(
        vocab_size=384,
        d_model=_GLYPH_WIDTH,
        d_kv=4,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)


def _image_encoder() -> SiglipVisionModel:
    config = SiglipVisionConfig(
        hidden_size=_IMAGE_WIDTH,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=_SIZE,
        patch_size=8,
    )
    return livelier(SiglipVisionModel(config))
