"""Latte: a transformer that alternates attention within frames and over frames (arXiv 2401.03048).

Letters: B videos, f frames, C channels, H and W latent sizes, L text tokens, D text width.

`LattePipeline` has its own way with the padding of texts (`mask_text_embeddings`): one video's text
is cut to its real tokens, and the negative text to the same number; of several videos' texts the
padding is set to zero and the negative text stays whole. So that a video does not depend on how many
share its batch, and is what users of the pipeline get for one prompt, each is sampled by itself.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from vader_core.decoders.image import ImageDecoder
from vader_core.devices import Compute
from vader_core.families.family import STACKED, Embeds, Family, Request, required_size
from vader_core.spec import Video
from vader_core.text_limits import TEXT_TOKENS

# The length that the pipeline pads every text to.
_TEXT_TOKENS = TEXT_TOKENS["latte"]
_EMBEDS, _MASK = "prompt_embeds", "prompt_attention_mask"


class Latte(Family):
    """Both guidance branches go in one call, the unconditional half first."""

    guidance_calls = STACKED
    one_video_per_call = True

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, _ = pipeline.encode_prompt(
            text, do_classifier_free_guidance=False, device=compute.device, mask_feature=False
        )
        (prepared,) = pipeline._text_preprocessing(text)
        tokens = pipeline.tokenizer(
            prepared,
            padding="max_length",
            max_length=_TEXT_TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        return {_EMBEDS: embeds_1LD, _MASK: tokens.attention_mask.to(compute.device)}

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        arguments["video_length"] = arguments.pop("num_frames")
        arguments["negative_prompt"] = (
            None  # the pipeline's default is a text, which it then refuses
        )
        mask_BL = arguments.pop(_MASK)
        arguments.pop(f"negative_{_MASK}", None)
        # Embeddings that are handed over ready are not masked by the pipeline.
        masked_B1LD, kept = pipeline.mask_text_embeddings(arguments[_EMBEDS][:, None], mask_BL)
        arguments[_EMBEDS] = masked_B1LD[:, 0]
        arguments[f"negative_{_EMBEDS}"] = arguments[f"negative_{_EMBEDS}"][:, :kept]
        return arguments

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor)
        channels = int(pipeline.transformer.config.in_channels)
        return batch, channels, frames, height // scale, width // scale

    def decoder(self, pipeline: Any) -> ImageDecoder:
        return ImageDecoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return [*denoiser.transformer_blocks, *denoiser.temporal_transformer_blocks]


FAMILY = Latte()
