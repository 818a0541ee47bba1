"""Wan from image to video: WanImageToVideoPipeline, one first image and so one video a call.

The first image reaches the transformer through the autoencoder's latents: joined to the noisy ones
with a mask (Wan 2.1 and 2.2 A14B), or in the place of the first latent frame, whose timestep is then
zero (Wan 2.2 TI2V 5B); in Wan 2.1 also through a CLIP image encoder.
"""

from __future__ import annotations

from typing import Any

from vader_core.families.family import Request
from vader_core.families.wan import Wan


class WanImage(Wan):
    """The published folder of TI2V 5B names the text-to-video class; its weights serve both."""

    precise_parts = frozenset({"vae", "image_encoder"})
    one_video_per_call = True
    also_reads = frozenset({"WanPipeline"})

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        (arguments["image"],) = request.conditions.images or []
        return arguments


FAMILY = WanImage()
