"""A small random Mochi pipeline."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLMochi,
    FlowMatchEulerDiscreteScheduler,
    MochiPipeline,
    MochiTransformer3DModel,
)
from transformers import T5Config, T5EncoderModel

from tests.vader_core.conformance.small_parts import livelier, small_row
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer

# The pipeline knows this many channels, and groups of its norms are 32.
_CHANNELS, _WIDTH = 12, 32


def build(folder: Path) -> BaseModelRow:
    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    pipeline = MochiPipeline(
        tokenizer=tokenizer,
        text_encoder=_text_encoder(len(tokenizer)),
        vae=autoencoder(),
        transformer=_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    )
    pipeline.save_pretrained(folder)
    return small_row(folder, "mochi", MochiPipeline, size=(32, 16), num_frames=7, frames_multiple=6)


def autoencoder() -> AutoencoderKLMochi:
    """1 + 6k frames to 1 + k latent ones, 8x8 pixels to one."""
    torch.manual_seed(2)
    return AutoencoderKLMochi(
        encoder_block_out_channels=(_WIDTH,) * 4,
        decoder_block_out_channels=(_WIDTH,) * 4,
        latent_channels=_CHANNELS,
        layers_per_block=(1,) * 5,
    )


def _transformer() -> MochiTransformer3DModel:
    model = MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=_CHANNELS,
        text_embed_dim=16,
        time_embed_dim=16,
        max_sequence_length=16,
    )
    torch.nn.init.normal_(model.pos_frequencies)
    return livelier(model)


def _text_encoder(vocabulary: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
    )
    return T5EncoderModel(config)
