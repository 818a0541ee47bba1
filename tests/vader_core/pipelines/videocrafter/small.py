"""VideoCrafter2 in a size that tests can compute."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from tests.vader_core.pipelines.videocrafter import published
from vader_core.convert.videocrafter2 import Parts
from vader_core.pipelines.videocrafter import VideoCrafterUNet

SMALL = published.Sizes(
    channels=8,
    head=4,
    context=12,
    groups=4,
    vae_channels=4,
    vae_groups=2,
    text_layers=3,
    text_heads=2,
    words=50,
    tokens=6,
)


def small_parts() -> Parts:
    with torch.device("meta"):
        return Parts(
            VideoCrafterUNet(
                block_out_channels=(8, 16, 32, 32),
                cross_attention_dim=12,
                attention_head_dim=4,
                norm_num_groups=4,
            ),
            AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=(4, 8, 16, 16),
                layers_per_block=2,
                latent_channels=4,
                norm_num_groups=2,
            ),
            CLIPTextModel(
                CLIPTextConfig(
                    vocab_size=50,
                    hidden_size=12,
                    intermediate_size=48,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    max_position_embeddings=6,
                    hidden_act="gelu",
                )
            ),
        )
