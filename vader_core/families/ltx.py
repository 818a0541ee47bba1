"""LTX-Video 0.9: packed tokens in one stacked call; text-to-video and image-to-video; noise in the decoder.

Facts: diffusers' pipelines/ltx/pipeline_ltx.py, pipeline_ltx_image2video.py and
models/autoencoders/autoencoder_kl_ltx.py; arXiv 2501.00103.

The decoder is not causal. Every convolution looks one frame ahead at its own rate, so with the
published layers a frame depends on some 20 latent frames on either side of its own: more than a
video of 161 frames has. So everything is decoded at once, with a checkpoint around every layer
(`vader_core.decoders.whole`).

From 0.9.1 on the decoder denoises a little itself: it is told a timestep, and noise is mixed into the
latents and into some of its layers. That noise is drawn anew from `DECODER_SEED` for every video, so
that decoding twice gives the same frames whatever else shares the batch. The pipeline's own call gives
these frames with `torch.manual_seed(DECODER_SEED)` before it decodes and one generator of that seed for
every video.

Letters: B videos, C channels, f latent frames, H and W latent sizes, S tokens, D token width.
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
from vader_core.text_limits import TEXT_TOKENS

DECODER_SEED = 0
# The pipeline's own default for the length that texts are padded to.
_TEXT_TOKENS = TEXT_TOKENS["ltx"]
_LAYERS = ("ResnetBlock3d", "Upsampler3d", "CausalConv3d")


class Ltx(Family):
    """Both guidance branches go in one call, the unconditional half first."""

    guidance_calls = STACKED
    # One set of parts for every pipeline class of LTX-Video: folders name the one they were saved by.
    also_reads = frozenset({"LTXPipeline", "LTXImageToVideoPipeline", "LTXConditionPipeline"})

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        pipeline.decode_timestep = row.call.get("decode_timestep", 0.0)
        scale = row.call.get("decode_noise_scale")
        pipeline.decode_noise_scale = pipeline.decode_timestep if scale is None else scale

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, mask_1L, _, _ = pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            max_sequence_length=min(_TEXT_TOKENS, pipeline.tokenizer.model_max_length),
            device=compute.device,
        )
        return {"prompt_embeds": embeds_1LD, "prompt_attention_mask": mask_1L}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        patch, patch_t = _patches(pipeline)
        frames, height, width = grid_size(pipeline, video)
        tokens = (frames // patch_t) * (height // patch) * (width // patch)
        return batch, tokens, int(pipeline.transformer.config.in_channels)

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        arguments = super().call(pipeline, request)
        if request.conditions.images is not None:
            arguments["latents"] = _with_first_frames(pipeline, request)
        return arguments

    def settings(self, pipeline: Any, video: Video) -> dict[str, JsonValue]:
        return {**super().settings(pipeline, video), "frame_rate": video.fps}

    def to_grid(self, pipeline: Any, latents: torch.Tensor, video: Video) -> torch.Tensor:
        patch, patch_t = _patches(pipeline)
        frames, height, width = grid_size(pipeline, video)
        grid: torch.Tensor = pipeline._unpack_latents(
            latents, frames // patch_t, height // patch, width // patch, patch, patch_t
        )
        return grid

    def decoder(self, pipeline: Any) -> WholeDecoder:
        layers = decoder_layers(pipeline.vae, "LTXVideo")
        return WholeDecoder(functools.partial(_frames, pipeline), layers)

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.transformer_blocks)


def grid_size(pipeline: Any, video: Video) -> tuple[int, int, int]:
    """Latent frames, height and width of a resolved video."""
    num_frames, height, width = required_size(video)
    scale, scale_t = pipeline.vae_spatial_compression_ratio, pipeline.vae_temporal_compression_ratio
    return (num_frames - 1) // int(scale_t) + 1, height // int(scale), width // int(scale)


def decoder_layers(vae: Any, prefix: str) -> list[nn.Module]:
    """The decoder's layers worth a checkpoint each, none within another; `prefix` begins their class names."""
    names = {prefix + layer for layer in _LAYERS}
    layers = [module for module in vae.decoder.modules() if type(module).__name__ in names]
    inner = {id(part) for layer in layers for part in layer.modules() if part is not layer}
    return [layer for layer in layers if id(layer) not in inner]


def decoder_noise(latents_BCfHW: torch.Tensor) -> torch.Tensor:
    """The noise that the decoder mixes into latents: the same for every video."""
    generator = torch.Generator().manual_seed(DECODER_SEED)
    noise = torch.randn(
        (1, *latents_BCfHW.shape[1:]), generator=generator, dtype=latents_BCfHW.dtype
    )
    return noise.to(latents_BCfHW.device)


def decoded(vae: Any, latents_BCfHW: torch.Tensor, timestep_B: torch.Tensor | None) -> torch.Tensor:
    """Frames (B, F, 3, H, W) in [0, 1]; noise within the decoder's layers is that of `DECODER_SEED`."""
    device = latents_BCfHW.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(DECODER_SEED)
        video = vae.decode(latents_BCfHW, timestep_B, return_dict=False)[0]
    return unit_range(video.transpose(1, 2))


def _frames(pipeline: Any, latents_BCfHW: torch.Tensor) -> torch.Tensor:
    vae = pipeline.vae
    latents = pipeline._denormalize_latents(
        latents_BCfHW.to(vae.dtype), vae.latents_mean, vae.latents_std, vae.config.scaling_factor
    )
    if not vae.config.timestep_conditioning:
        return decoded(vae, latents, None)
    scale = pipeline.decode_noise_scale
    latents = (1 - scale) * latents + scale * decoder_noise(latents)
    return decoded(vae, latents, latents.new_full((len(latents),), pipeline.decode_timestep))


def _patches(pipeline: Any) -> tuple[int, int]:
    """The edges of a token in latents: in space and in time."""
    return pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size


def _with_first_frames(pipeline: Any, request: Request) -> torch.Tensor:
    """The request's noise with the encoded first images in the place of the first latent frame.

    The pipeline does so only where it draws the noise itself. The images' latents are samples of the
    encoder's distribution, always with the same seed.
    """
    latents_BSD, video = request.latents, request.video
    _, height, width = required_size(video)
    vae = pipeline.vae
    images = pipeline.video_processor.preprocess(
        request.conditions.images, height=height, width=width
    ).to(vae.device, vae.dtype)
    with torch.no_grad():
        conditioned_BSD, mask_BS = pipeline.prepare_latents(
            image=images,
            batch_size=len(latents_BSD),
            num_channels_latents=int(pipeline.transformer.config.in_channels),
            height=height,
            width=width,
            num_frames=video.num_frames,
            dtype=latents_BSD.dtype,
            device=latents_BSD.device,
            generator=[torch.Generator().manual_seed(DECODER_SEED) for _ in latents_BSD],
        )
    return torch.where(mask_BS[..., None] > 0, conditioned_BSD, latents_BSD)


FAMILY = Ltx()
