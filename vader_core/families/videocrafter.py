"""VideoCrafter2: ModelScope's 3D UNet that is told a frame rate (arXiv 2401.09047)."""

from __future__ import annotations

from typing import Any

from vader_core.devices import Compute
from vader_core.families.family import Embeds
from vader_core.families.text_to_video_sd import TextToVideoSD


class VideoCrafter(TextToVideoSD):
    """Guidance and latents are those of ModelScope's family.

    The frame rate that conditions the denoiser is not the rate at which a video is played: the model's
    authors sample with 28, which is the pipeline's default, and write files of 10 frames a second. A row
    that wants another says so in its `call`.
    """

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        del compute  # the pipeline knows its device
        return {"prompt_embeds": pipeline.encode_prompt([text])}


FAMILY = VideoCrafter()
