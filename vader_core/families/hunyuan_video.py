"""HunyuanVideo from text: a diffusion transformer on a causal video autoencoder, flow matching.

The published model is distilled from guidance: the transformer is told the guidance scale and called
once per step. A transformer that is not told it is guided by a second, unconditional call instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders.hunyuan_video import hunyuan_video_decoder
from vader_core.decoders.tiled import TiledDecoder, checkpoint_layers
from vader_core.devices import Compute
from vader_core.families.family import SEPARATE, Embeds, Family, Request, required_size
from vader_core.fused_keys import hunyuan_video_to_comfyui
from vader_core.spec import Video


class HunyuanVideo(Family):
    """Where there are two calls the conditional one comes first."""

    guidance_calls = SEPARATE

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        """Spatial tiles besides the temporal ones, as the model card has it, and activation checkpoints."""
        del row
        pipeline.vae.enable_tiling()
        checkpoint_layers(pipeline.vae)

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        encoded = pipeline.encode_prompt(prompt=text, device=compute.device)
        return self.named(encoded)

    @staticmethod
    def named(encoded: tuple[Any, Any, Any]) -> Embeds:
        """What the pipeline's `encode_prompt` returns, by the names of its call's arguments."""
        embeds_1LD, pooled_1D, mask_1L = encoded
        return {
            "prompt_embeds": embeds_1LD,
            "pooled_prompt_embeds": pooled_1D,
            "prompt_attention_mask": mask_1L,
        }

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        if not _is_told_the_scale(pipeline):
            arguments |= {
                "true_cfg_scale": request.video.guidance_scale,
                # Not read by the transformer; a true guidance besides this one would be warned of.
                "guidance_scale": 1.0,
            }
        return arguments

    def is_guided(self, pipeline: Any, video: Video) -> bool:
        return not _is_told_the_scale(pipeline) and super().is_guided(pipeline, video)

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        num_frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor_spatial)
        frames = (num_frames - 1) // int(pipeline.vae_scale_factor_temporal) + 1
        channels = int(pipeline.vae.config.latent_channels)
        return batch, channels, frames, height // scale, width // scale

    def decoder(self, pipeline: Any) -> TiledDecoder:
        return hunyuan_video_decoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return [*denoiser.transformer_blocks, *denoiser.single_transformer_blocks]

    def comfyui(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        return hunyuan_video_to_comfyui(state)


def _is_told_the_scale(pipeline: Any) -> bool:
    return bool(pipeline.transformer.config.guidance_embeds)


FAMILY = HunyuanVideo()
