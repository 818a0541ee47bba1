"""A small random Latte pipeline."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, LattePipeline, LatteTransformer3DModel
from transformers import T5Config, T5EncoderModel

from tests.vader_core.conformance.frame_by_frame import WIDTH, autoencoder, row
from vader_core.catalogue import BaseModelRow
from vader_core.tiny.tokenizers import word_tokenizer


def build(folder: Path) -> BaseModelRow:
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    pipeline = LattePipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=WIDTH,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                dropout_rate=0.0,
                pad_token_id=tokenizer.pad_token_id,
            )
        ),
        vae=autoencoder(),
        transformer=LatteTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            cross_attention_dim=16,
            attention_bias=True,
            sample_size=8,
            patch_size=2,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            caption_channels=WIDTH,
            video_length=4,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.0001, beta_end=0.005, beta_schedule="linear", clip_sample=False
        ),
    )
    pipeline.save_pretrained(folder)
    return row(folder, "latte", pipeline, frames=4)
