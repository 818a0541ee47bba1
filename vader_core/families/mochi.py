"""Mochi 1: an asymmetric diffusion transformer on a causal video autoencoder, flow matching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders.mochi import carry_on, mochi_decoder
from vader_core.decoders.tiled import TiledDecoder, checkpoint_layers
from vader_core.devices import Compute
from vader_core.families.family import STACKED, Embeds, Family, required_size
from vader_core.fused_keys import mochi_to_comfyui
from vader_core.spec import Video
from vader_core.text_limits import TEXT_TOKENS

_TEXT_TOKENS = TEXT_TOKENS["mochi"]


class Mochi(Family):
    """Both guidance branches go in one call, the unconditional half first."""

    guidance_calls = STACKED

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        """Tiles, as the model card has it, and a decoder that can stop and go on."""
        del row
        pipeline.vae.enable_tiling()
        checkpoint_layers(pipeline.vae)
        carry_on(pipeline.vae)

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        # The pipeline holds latents in the embeddings' dtype, which must not round them.
        embeds_1LD, mask_1L, _, _ = pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            max_sequence_length=_TEXT_TOKENS,
            device=compute.device,
            dtype=compute.precise_dtype,
        )
        return {"prompt_embeds": embeds_1LD, "prompt_attention_mask": mask_1L}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        num_frames, height, width = required_size(video)
        scale = int(pipeline.vae_spatial_scale_factor)
        frames = (num_frames - 1) // int(pipeline.vae_temporal_scale_factor) + 1
        channels = int(pipeline.transformer.config.in_channels)
        return batch, channels, frames, height // scale, width // scale

    def decoder(self, pipeline: Any) -> TiledDecoder:
        return mochi_decoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.transformer_blocks)

    def comfyui(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        return mochi_to_comfyui(state)


FAMILY = Mochi()
