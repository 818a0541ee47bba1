"""Open-Sora 1.2: STDiT3 on windows of an image autoencoder's latents, rectified flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vader_core.decoders.open_sora import OpenSoraDecoder
from vader_core.devices import Compute
from vader_core.families.family import Embeds, Family, GuidanceCalls, Request, required_size
from vader_core.spec import Video

_CONDITIONAL_FIRST: GuidanceCalls = (("cond", "uncond"),)
_NEGATIVE = "negative_"


class OpenSora(Family):
    """Both guidance branches go in one call, the conditional half first.

    Without a negative prompt the unconditional branch is the denoiser's own text, of which it sees as
    many tokens as the prompt has: the pipeline fills it in.
    """

    denoisers = ("transformer",)
    guidance_calls = _CONDITIONAL_FIRST

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        if text:
            embeds_1KD, mask_1K = pipeline.encode_prompt(text, device=compute.device)
        else:
            embeds_1KD = pipeline.transformer.null_caption[None]
            mask_1K = torch.ones(embeds_1KD.shape[:2], device=embeds_1KD.device)
        return {"prompt_embeds": embeds_1KD, "prompt_attention_mask": mask_1K}

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        if request.video.fps is not None:
            arguments["fps"] = request.video.fps
        if request.video.negative_prompt:
            return arguments
        return {name: it for name, it in arguments.items() if not name.startswith(_NEGATIVE)}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        num_frames, height, width = required_size(video)
        vae, channels = pipeline.vae, int(pipeline.transformer.config.in_channels)
        scale = vae.scale_factor_spatial
        return batch, channels, vae.latent_frames(num_frames), height // scale, width // scale

    def decoder(self, pipeline: Any) -> OpenSoraDecoder:
        return OpenSoraDecoder(pipeline.vae)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return [*denoiser.spatial_blocks, *denoiser.temporal_blocks]


FAMILY = OpenSora()
