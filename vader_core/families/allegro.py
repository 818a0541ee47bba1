"""Allegro: a diffusion transformer on video latents; both guidance branches in one call.

Facts: diffusers' pipelines/allegro/pipeline_allegro.py; arXiv 2410.15458. How it decodes:
`vader_core.decoders.allegro`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from vader_core.decoders.allegro import AllegroDecoder
from vader_core.devices import Compute
from vader_core.families.family import STACKED, Embeds, Family, Request, required_size
from vader_core.spec import Video
from vader_core.text_limits import TEXT_TOKENS

# The pipeline's own default for the length that texts are padded to.
_TEXT_TOKENS = TEXT_TOKENS["allegro"]


class Allegro(Family):
    """The unconditional half comes first.

    Prompts are encoded as they are written. The pipeline's own call also cleans them where two optional
    packages are installed, which would make a run depend on what a machine happens to have.
    """

    guidance_calls = STACKED

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, mask_1L, _, _ = pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            clean_caption=False,
            max_sequence_length=min(_TEXT_TOKENS, pipeline.tokenizer.model_max_length),
            device=compute.device,
        )
        return {"prompt_embeds": embeds_1LD, "prompt_attention_mask": mask_1L}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        num_frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor_spatial)
        # Legal videos have even numbers of frames: there is no single first frame.
        frames = num_frames // int(pipeline.vae_scale_factor_temporal)
        channels = int(pipeline.transformer.config.in_channels)
        return batch, channels, frames, height // scale, width // scale

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        # The pipeline's own default, an empty text, is refused beside embeddings.
        return {**super().call(pipeline, request), "negative_prompt": None}

    def decoder(self, pipeline: Any) -> AllegroDecoder:
        return AllegroDecoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.transformer_blocks)


FAMILY = Allegro()
