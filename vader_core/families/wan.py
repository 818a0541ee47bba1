"""Wan: a diffusion transformer on a causal video autoencoder, flow matching; one denoiser or two experts.

Wan 2.2 A14B has two transformers: the pipeline calls `transformer` for timesteps from
`boundary_ratio` times the number of training timesteps upwards, `transformer_2` below.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from vader_core.decoders.recurrent import RecurrentDecoder
from vader_core.decoders.wan import WanRecurrence
from vader_core.devices import Compute
from vader_core.families.family import SEPARATE, Embeds, Family, required_size
from vader_core.spec import Video
from vader_core.text_limits import TEXT_TOKENS
from vader_core.wan_keys import to_comfyui

# Wan's text encoder pads to a length of its choice; the pipeline's own default is 512.
_TEXT_TOKENS = TEXT_TOKENS["wan"]


class Wan(Family):
    """The conditional call comes first, then the unconditional one."""

    denoisers: tuple[str, ...] = ("transformer", "transformer_2")
    guidance_calls = SEPARATE
    experts = MappingProxyType({"transformer": "high_noise", "transformer_2": "low_noise"})

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, _ = pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            max_sequence_length=min(_TEXT_TOKENS, pipeline.tokenizer.model_max_length),
            device=compute.device,
        )
        return {"prompt_embeds": embeds_1LD}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        num_frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor_spatial)
        frames = (num_frames - 1) // int(pipeline.vae_scale_factor_temporal) + 1
        return batch, int(pipeline.vae.config.z_dim), frames, height // scale, width // scale

    def decoder(self, pipeline: Any) -> RecurrentDecoder:
        return RecurrentDecoder(WanRecurrence(pipeline.vae))

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.blocks)

    def trained(self, pipeline: Any, video: Video, *, differentiable_steps: int) -> tuple[str, ...]:
        boundary_ratio = pipeline.config.get("boundary_ratio")
        if boundary_ratio is None:
            return ("transformer",)
        boundary = boundary_ratio * pipeline.scheduler.config.num_train_timesteps
        pipeline.scheduler.set_timesteps(video.inference_steps)
        last = pipeline.scheduler.timesteps[-differentiable_steps:]
        called = {"transformer" if t >= boundary else "transformer_2" for t in last}
        return tuple(name for name in self.denoisers if name in called)

    def comfyui(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        return to_comfyui(state)


FAMILY = Wan()
