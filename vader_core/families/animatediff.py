"""AnimateDiff: a Stable Diffusion UNet with temporal transformers between its layers (arXiv 2307.04725).

What learns is the pipeline's `unet`, a `UNetMotionModel`: LoRA targets match the image layers and the
motion layers alike.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from vader_core.devices import Compute
from vader_core.families.family import Embeds
from vader_core.families.text_to_video_sd import TextToVideoSD


class AnimateDiff(TextToVideoSD):
    """Both guidance branches go in one call, the unconditional half first.

    The pipeline repeats a video's text for every frame: the denoiser's text has B x F rows.
    """

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, _ = pipeline.encode_prompt(
            text, compute.device, 1, do_classifier_free_guidance=False
        )
        return {"prompt_embeds": embeds_1LD}

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return [*denoiser.down_blocks, denoiser.mid_block, *denoiser.up_blocks]


FAMILY = AnimateDiff()
