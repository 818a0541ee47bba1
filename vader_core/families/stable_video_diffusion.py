"""Stable Video Diffusion: from a first image, without text; a 3D UNet, EDM's preconditioning.

Facts: diffusers' pipelines/stable_video_diffusion/pipeline_stable_video_diffusion.py and
models/autoencoders/autoencoder_kl_temporal_decoder.py; arXiv 2311.15127.

Guidance grows linearly over the frames: from `min_guidance_scale` at the first, which the first image
settles, to the video's `guidance_scale` at the last. `fps`, `motion_bucket_id` and `noise_aug_strength`
of the call are conditions that the UNet was trained with; a row's `call` changes them, and with
`decode_chunk_size` the number of frames that are decoded together.

A step's share in the final latents is about its sigma, and a schedule of 25 steps ends with sigmas of
0.07, 0.025, 0.008, 0.002 and 0: a single differentiable step changes next to nothing. Take several.

The first image is encoded with a little noise. It is drawn from a seed that the video's own initial
noise settles, so that a video is the same whenever and beside whatever it is made.

Letters: B videos, C channels, F frames, H and W sizes; 1 is one video.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from pydantic import JsonValue
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders import unit_range
from vader_core.decoders.whole import WholeDecoder
from vader_core.devices import Compute
from vader_core.families.family import STACKED, Embeds, Family, Request, required_size
from vader_core.spec import Video


class StableVideoDiffusion(Family):
    """Both guidance branches go in one call, the unconditional half first."""

    denoisers = ("unet",)
    guidance_calls = STACKED
    precise_parts = frozenset({"vae", "image_encoder"})

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        pipeline.decode_chunk_size = row.call.get("decode_chunk_size")

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        del pipeline, text, compute
        return {}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        frames, height, width = required_size(video)
        scale = int(pipeline.vae_scale_factor)
        # Half of the UNet's channels are the first image's.
        channels = int(pipeline.unet.config.in_channels) // 2
        return batch, frames, channels, height // scale, width // scale

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        return {**arguments, "generator": [_generator(one) for one in request.latents]}

    def settings(self, pipeline: Any, video: Video) -> dict[str, JsonValue]:
        settings = super().settings(pipeline, video)
        settings["max_guidance_scale"] = settings.pop("guidance_scale")
        return settings

    def result(self, output: Any) -> torch.Tensor:
        latents_BFCHW: torch.Tensor = output
        return latents_BFCHW

    def to_grid(self, pipeline: Any, latents: torch.Tensor, video: Video) -> torch.Tensor:
        del pipeline, video
        return latents.transpose(1, 2)

    def decoder(self, pipeline: Any) -> WholeDecoder:
        decoder = pipeline.vae.decoder
        layers = [decoder.mid_block, *decoder.up_blocks]
        resnets = [resnet for layer in layers for resnet in layer.resnets]
        upsamplers = [one for layer in decoder.up_blocks for one in layer.upsamplers or []]
        images = [resnet.spatial_res_block for resnet in resnets]
        return WholeDecoder(
            functools.partial(_frames, pipeline.vae),
            [resnet.temporal_res_block for resnet in resnets],
            [*images, *decoder.mid_block.attentions, *upsamplers],
            clip=pipeline.decode_chunk_size,
        )

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return [*denoiser.down_blocks, denoiser.mid_block, *denoiser.up_blocks]


def _frames(vae: Any, latents_1CFHW: torch.Tensor) -> torch.Tensor:
    """The frames of one clip."""
    latents_FCHW = latents_1CFHW[0].transpose(0, 1).to(vae.dtype) / vae.config.scaling_factor
    decoded_FCHW = vae.decode(latents_FCHW, num_frames=len(latents_FCHW), return_dict=False)[0]
    return unit_range(decoded_FCHW)[None]


def _generator(noise_FCHW: torch.Tensor) -> torch.Generator:
    first = noise_FCHW.flatten()[:2].to("cpu", torch.float32)
    return torch.Generator().manual_seed(int(first.view(torch.int64)))


FAMILY = StableVideoDiffusion()
