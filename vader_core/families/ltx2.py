"""LTX-2, its video part: one denoiser samples video and audio together; only the video is decoded.

Facts: diffusers' pipelines/ltx2/pipeline_ltx2.py and models/autoencoders/autoencoder_kl_ltx2.py.

The audio's noise follows from the video's, so that a video depends on nothing else; where audio reaches
video through the denoiser's cross-attention, the gradient does as well. The perturbed calls of a step
(skipped blocks, separated modalities) are weak branches as the unconditional one is, and carry gradient
where that one does.

The decoder looks ahead as LTX-Video's does, unless `decoder_causal` is on: everything is decoded at
once (`vader_core.families.ltx`).

Letters: B videos, C channels, f latent frames, H and W latent sizes, L latent audio frames, M mel bins.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from typing import Any

import torch
from pydantic import JsonValue
from torch import nn

from vader_core.catalogue import BaseModelRow
from vader_core.decoders.whole import WholeDecoder
from vader_core.devices import Compute
from vader_core.families.family import (
    STACKED,
    UNGUIDED,
    Embeds,
    Family,
    GuidanceCalls,
    Request,
)
from vader_core.families.ltx import decoded, decoder_layers, decoder_noise, grid_size
from vader_core.spec import Video
from vader_core.text_limits import TEXT_TOKENS

# The pipeline's own default for the length that texts are padded to.
_TEXT_TOKENS = TEXT_TOKENS["ltx2"]
_PERTURBED: GuidanceCalls = (("uncond",),)


class Ltx2(Family):
    """The stacked call first, unconditional half first; then the perturbed ones that the row asks for."""

    precise_parts = frozenset({"vae", "audio_vae"})

    def prepare(self, pipeline: Any, row: BaseModelRow) -> None:
        parameters = inspect.signature(type(pipeline).__call__).parameters
        defaults = {name: parameter.default for name, parameter in parameters.items()}
        pipeline.call_constants = {**defaults, **row.call}

    def encode(self, pipeline: Any, text: str, compute: Compute) -> Embeds:
        embeds_1LD, mask_1L, _, _ = pipeline.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            max_sequence_length=min(_TEXT_TOKENS, pipeline.tokenizer.model_max_length),
            device=compute.device,
        )
        return {"prompt_embeds": embeds_1LD, "prompt_attention_mask": mask_1L}

    def latents_shape(self, pipeline: Any, video: Video, *, batch: int) -> tuple[int, ...]:
        channels = int(pipeline.transformer.config.in_channels)
        return batch, channels, *grid_size(pipeline, video)

    def call(self, pipeline: Any, request: Request) -> dict[str, Any]:
        # The pipeline takes latents as the decoder does and brings them into the denoiser's scale.
        return {
            **super().call(pipeline, request),
            "latents": _in_pixels_scale(pipeline, request.latents),
            "audio_latents": _audio_latents(pipeline, request),
        }

    def settings(self, pipeline: Any, video: Video) -> dict[str, JsonValue]:
        return {**super().settings(pipeline, video), "frame_rate": video.fps}

    def is_guided(self, pipeline: Any, video: Video) -> bool:
        audio_scale = pipeline.call_constants["audio_guidance_scale"] or video.guidance_scale
        return super().is_guided(pipeline, video) or bool(audio_scale and audio_scale > 1)

    def calls(self, pipeline: Any, video: Video) -> GuidanceCalls:
        constants = pipeline.call_constants
        stg = constants["stg_scale"], constants["audio_stg_scale"] or 0
        modality = constants["modality_scale"], constants["audio_modality_scale"] or 0
        perturbed = int(max(stg) > 0) + int(max(modality) > 1)
        return (STACKED if self.is_guided(pipeline, video) else UNGUIDED) + perturbed * _PERTURBED

    def decoder(self, pipeline: Any) -> WholeDecoder:
        return WholeDecoder(
            functools.partial(_frames, pipeline), decoder_layers(pipeline.vae, "LTX2Video")
        )

    def blocks(self, denoiser: Any) -> list[nn.Module]:
        return list(denoiser.transformer_blocks)


def _in_pixels_scale(pipeline: Any, latents_BCfHW: torch.Tensor) -> torch.Tensor:
    vae = pipeline.vae
    latents: torch.Tensor = pipeline._denormalize_latents(
        latents_BCfHW, vae.latents_mean, vae.latents_std, vae.config.scaling_factor
    )
    return latents


def _audio_latents(pipeline: Any, request: Request) -> torch.Tensor:
    """Standard normal in the denoiser's scale; each video's noise has its own audio noise."""
    vae, video = pipeline.audio_vae, request.video
    per_second = (
        pipeline.audio_sampling_rate
        / pipeline.audio_hop_length
        / float(pipeline.audio_vae_temporal_compression_ratio)
    )
    length = round((video.num_frames or 0) / (video.fps or 1) * per_second)
    bins = int(vae.config.mel_bins) // int(pipeline.audio_vae_mel_compression_ratio)
    shape = (length, int(vae.config.latent_channels) * bins)
    noise = torch.stack([torch.randn(shape, generator=_seeded_by(one)) for one in request.latents])
    packed = pipeline._denormalize_audio_latents(
        noise.to(request.latents), vae.latents_mean, vae.latents_std
    )
    unpacked: torch.Tensor = pipeline._unpack_audio_latents(packed, length, num_mel_bins=bins)
    return unpacked


def _seeded_by(noise_CfHW: torch.Tensor) -> torch.Generator:
    digest = hashlib.sha256(noise_CfHW.float().cpu().contiguous().numpy().tobytes()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") % 2**63)


def _frames(pipeline: Any, latents_BCfHW: torch.Tensor) -> torch.Tensor:
    vae = pipeline.vae
    latents = latents_BCfHW.to(vae.dtype)
    if not vae.config.timestep_conditioning:
        return decoded(vae, latents, None)
    constants = pipeline.call_constants
    timestep, scale = constants["decode_timestep"], constants["decode_noise_scale"]
    scale = timestep if scale is None else scale
    latents = pipeline._normalize_latents(
        latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor
    )
    latents = (1 - scale) * latents + scale * decoder_noise(latents)
    latents = _in_pixels_scale(pipeline, latents)
    return decoded(vae, latents, latents.new_full((len(latents),), timestep))


FAMILY = Ltx2()
