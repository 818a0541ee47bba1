"""CogVideoX and CogVideoX 1.5 from image to video: CogVideoXImageToVideoPipeline.

The first image's latents are joined to the noisy ones along their channels.
"""

from __future__ import annotations

from typing import Any

import torch

from vader_core.families.cogvideox import CogVideoX
from vader_core.families.family import Request

_SEED = 0


class CogVideoXImage(CogVideoX):
    """The pipeline draws the image's latents from the autoencoder's distribution.

    Each image's draw is made from the same seed, so that it depends on nothing but the image.
    """

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        drawn = [torch.Generator().manual_seed(_SEED) for _ in range(len(request.conditions))]
        return {**super().call(pipeline, request), "generator": drawn}


FAMILY = CogVideoXImage()
