"""CogVideoX and CogVideoX 1.5 from text: a diffusion transformer on a causal video autoencoder.

Latents are (B, f, C, H, W) in the pipeline. CogVideoX 1.5 takes latent frames two by two: where their
number is odd the pipeline samples one more, before the others, and throws it away before decoding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders.cogvideox import cogvideox_decoder
from vader_core.decoders.tiled import TiledDecoder, checkpoint_layers
from vader_core.devices import Compute
from vader_core.families.family import STACKED, Embeds, Family, Request, required_size
from vader_core.spec import Video


class CogVideoX(Family):
    """Both guidance branches go in one call, the unconditional half first."""

    guidance_calls = STACKED

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        """Tiles, as the model cards have it, and activation checkpoints for the decoder."""
        del row
        pipeline.vae.enable_tiling()
        checkpoint_layers(pipeline.vae)

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        # The pipeline holds latents in the embeddings' dtype, which must not round them.
        embeds_1LD, _ = pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            max_sequence_length=_text_tokens(pipeline),
            device=compute.device,
            dtype=compute.precise_dtype,
        )
        return {"prompt_embeds": embeds_1LD}

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        tokens = {"max_sequence_length": _text_tokens(pipeline)}
        return {**super().call(pipeline, request), **tokens}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        _, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor_spatial)
        extra, frames = _latent_frames(pipeline, video)
        channels = int(pipeline.vae.config.latent_channels)
        return batch, extra + frames, channels, height // scale, width // scale

    def to_grid(self, pipeline: Any, latents: torch.Tensor, video: Video) -> torch.Tensor:
        extra, _ = _latent_frames(pipeline, video)
        return latents[:, extra:].transpose(1, 2)

    def decoder(self, pipeline: Any) -> TiledDecoder:
        return cogvideox_decoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.transformer_blocks)


def _text_tokens(pipeline: Any) -> int:
    return int(pipeline.transformer.config.max_text_seq_length)


def _latent_frames(pipeline: Any, video: Video) -> tuple[int, int]:
    """How many latent frames are sampled before the video's own, and how many are its own."""
    num_frames, _, _ = required_size(video)
    frames = (num_frames - 1) // int(pipeline.vae_scale_factor_temporal) + 1
    return -frames % (pipeline.transformer.config.patch_size_t or 1), frames


FAMILY = CogVideoX()
