"""HunyuanVideo from image to video: HunyuanVideoImageToVideoPipeline.

The text encoder, a LLaVA, sees the first image with the text. The transformer sees its latents, in the
place of the first latent frame, or joined to the noisy ones along the channels ("latent_concat"). In
the latter form the first latent frame is no part of the video, though the others are decoded after it.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import HunyuanVideoImageToVideoPipeline
from PIL import Image

from vader_core.catalogue import BaseModelRow
from vader_core.decoders.hunyuan_video import hunyuan_video_decoder
from vader_core.decoders.tiled import TiledDecoder
from vader_core.devices import Compute
from vader_core.families.family import Embeds, Request, required_size
from vader_core.families.hunyuan_video import HunyuanVideo
from vader_core.spec import Video

# Of the image's tokens, every second or every fourth: what the pipeline's call chooses by itself.
_EVERY = {"latent_concat": 2, "token_replace": 4}
_EVERY_OF_NEGATIVE = 2


class WholeLatents(HunyuanVideoImageToVideoPipeline):  # type: ignore[misc]
    """Returns all of the latents that it decodes, where the library's own call leaves out the first frame."""

    @torch.no_grad()
    def __call__(self, **arguments: Any) -> Any:
        """As the library's call, by name only."""
        latents: dict[str, torch.Tensor] = {}

        def keep(_: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            del step, timestep
            latents.update(tensors)
            return {}

        undecorated = HunyuanVideoImageToVideoPipeline.__call__.__wrapped__
        output = undecorated(self, callback_on_step_end=keep, **arguments)
        return (latents["latents"],) if arguments["output_type"] == "latent" else output


class HunyuanVideoImage(HunyuanVideo):
    """Text and first image are encoded together."""

    text_sees_image = True

    def encode_seen(
        self, pipeline: Any, text: str, image: Image.Image | None, compute: Compute
    ) -> Embeds:
        """The negative prompt goes with a black image, of whichever size: its pixels are scaled anyway."""
        every = _EVERY_OF_NEGATIVE if image is None else _EVERY[_condition(pipeline)]
        encoded = pipeline.encode_prompt(
            image=Image.new("RGB", (16, 16)) if image is None else image,
            prompt=text,
            device=compute.device,
            image_embed_interleave=every,
        )
        return self.named(encoded)

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        super().prepare(pipeline, row)
        if _dropped(pipeline):
            pipeline.__class__ = WholeLatents

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        frames, _, _ = required_size(request.video)
        return {**super().call(pipeline, request), "num_frames": frames + _dropped(pipeline)}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        frames, _, _ = required_size(video)
        longer = video.model_copy(update={"num_frames": frames + _dropped(pipeline)})
        return super().latents_shape(pipeline, longer, batch=batch)

    def decoder(self, pipeline: Any) -> TiledDecoder:
        return hunyuan_video_decoder(pipeline.vae, dropped=_dropped(pipeline))


def _condition(pipeline: Any) -> str:
    return str(pipeline.transformer.config.image_condition_type)


def _dropped(pipeline: Any) -> int:
    """How many frames at the beginning the pipeline throws away."""
    joined = _condition(pipeline) == "latent_concat"
    return int(pipeline.vae_scale_factor_temporal) if joined else 0


FAMILY = HunyuanVideoImage()
