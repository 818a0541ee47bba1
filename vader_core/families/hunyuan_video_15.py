"""HunyuanVideo 1.5 from text: a diffusion transformer on a causal video autoencoder, flow matching.

Guidance is a part of the pipeline, its guider, which holds the scale and makes the calls: the
conditional one first, then the unconditional one. Texts are encoded twice, as a whole by Qwen2.5-VL and
what they quote by ByT5, each with a mask.
"""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders.hunyuan_video import hunyuan_video_15_decoder
from vader_core.decoders.tiled import TiledDecoder
from vader_core.devices import Compute
from vader_core.families.family import SEPARATE, Embeds, Family, Request, required_size
from vader_core.spec import Video

_NAMES = ("prompt_embeds", "prompt_embeds_mask", "prompt_embeds_2", "prompt_embeds_mask_2")


class HunyuanVideo15(Family):
    """The guidance scale is set on the guider."""

    guidance_calls = SEPARATE

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        """Spatial tiles, as the model card has it."""
        del row
        pipeline.vae.enable_tiling()
        # The autoencoder's attention builds a mask that fits a batch of one video only.
        pipeline.vae.use_slicing = True

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        encoded = pipeline.encode_prompt(prompt=text, device=compute.device)
        return dict(zip(_NAMES, encoded, strict=True))

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        pipeline.guider.guidance_scale = arguments.pop("guidance_scale")
        return arguments

    def is_guided(self, pipeline: Any, video: Video) -> bool:
        del pipeline
        scale = video.guidance_scale
        return scale is not None and not math.isclose(scale, 1.0)

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        num_frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor_spatial)
        frames = (num_frames - 1) // int(pipeline.vae_scale_factor_temporal) + 1
        channels = int(pipeline.num_channels_latents)
        return batch, channels, frames, height // scale, width // scale

    def decoder(self, pipeline: Any) -> TiledDecoder:
        return hunyuan_video_15_decoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.transformer_blocks)


FAMILY = HunyuanVideo15()
