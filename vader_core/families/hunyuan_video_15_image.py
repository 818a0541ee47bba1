"""HunyuanVideo 1.5 from image to video: HunyuanVideo15ImageToVideoPipeline, one first image a call.

The first image reaches the transformer as latents, joined to the noisy ones with a mask, and as tokens
of a SigLIP image encoder. The pipeline derives the video's size from the image's shape, by a list of
sizes of about the same area: only those can be made.
"""

from __future__ import annotations

import math
from typing import Any

from diffusers.pipelines.hunyuan_video1_5.image_processor import generate_crop_size_list

from vader_core.errors import SpecUnusable
from vader_core.families.family import Request, required_size
from vader_core.families.hunyuan_video_15 import HunyuanVideo15


class HunyuanVideo15Image(HunyuanVideo15):
    """The image is of the video's size already."""

    precise_parts = frozenset({"vae", "image_encoder"})
    one_video_per_call = True

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        """Raises `SpecUnusable` for a size that the pipeline does not make of an image of that size."""
        _, height, width = required_size(request.video)
        if not _is_made(pipeline, width, height):
            wide, high = _nearest(pipeline, width / height)
            raise SpecUnusable(
                f"HunyuanVideo 1.5 makes no video of {width}x{height} from an image of that size.",
                hint=f"The size of the nearest shape that it makes is {wide}x{high}.",
            )
        arguments = super().call(pipeline, request)
        (arguments["image"],) = request.conditions.images or []
        del arguments["width"], arguments["height"]
        return arguments


def _is_made(pipeline: Any, width: int, height: int) -> bool:
    """Whether the pipeline makes a video of that size from an image of that size."""
    made = pipeline.video_processor.calculate_default_height_width(
        height=height, width=width, target_size=pipeline.target_size
    )
    return tuple(made) == (height, width)


def _nearest(pipeline: Any, shape: float) -> tuple[int, int]:
    """Of the sizes that can be made, (width, height) of the one whose shape is nearest to width / height."""
    listed = generate_crop_size_list(
        base_size=pipeline.target_size, patch_size=pipeline.vae_scale_factor_spatial
    )
    sizes: list[tuple[int, int]] = [size for size in listed if _is_made(pipeline, *size)]
    return min(sizes, key=lambda size: abs(math.log(size[0] / size[1] / shape)))


FAMILY = HunyuanVideo15Image()
