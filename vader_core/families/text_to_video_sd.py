"""ModelScope's text-to-video family: TextToVideoSDPipeline, a 3D UNet on latents of single frames."""

from __future__ import annotations

from typing import Any

from torch import nn

from vader_core.decoders.image import ImageDecoder
from vader_core.devices import Compute
from vader_core.families.family import STACKED, Embeds, Family, required_size
from vader_core.spec import Video


class TextToVideoSD(Family):
    """Both guidance branches go in one call, the unconditional half first."""

    denoisers = ("unet",)
    guidance_calls = STACKED

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, _ = pipeline.encode_prompt(
            text, compute.device, 1, do_classifier_free_guidance=False
        )
        return {"prompt_embeds": embeds_1LD}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor)
        channels = int(pipeline.unet.config.in_channels)
        return batch, channels, frames, height // scale, width // scale

    def decoder(self, pipeline: Any) -> ImageDecoder:
        return ImageDecoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        # The first temporal transformer sees the latents at their full size.
        first = denoiser.transformer_in
        return [first, *denoiser.down_blocks, denoiser.mid_block, *denoiser.up_blocks]


FAMILY = TextToVideoSD()
