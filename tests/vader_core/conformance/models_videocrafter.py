"""A small random VideoCrafter2 pipeline."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.vader_core.conformance.frame_by_frame import (
    WIDTH,
    autoencoder,
    clip_text_encoder,
    row,
    stir_zeros,
)
from vader_core.catalogue import BaseModelRow
from vader_core.pipelines.videocrafter import (
    ScaledDDIMScheduler,
    VideoCrafterPipeline,
    VideoCrafterUNet,
)
from vader_core.tiny.tokenizers import clip_tokenizer


def build(folder: Path) -> BaseModelRow:
    torch.manual_seed(0)
    unet = VideoCrafterUNet(
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    stir_zeros(unet)
    tokenizer = clip_tokenizer()
    pipeline = VideoCrafterPipeline(
        autoencoder(), clip_text_encoder(tokenizer), tokenizer, unet, ScaledDDIMScheduler()
    )
    pipeline.save_pretrained(folder)
    return row(folder, "videocrafter", pipeline)
