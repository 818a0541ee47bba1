"""How a pipeline without a family of its own is decoded: by its autoencoder's class, else everything at once.

Latents are brought back to the autoencoder's scale as diffusers' pipelines do it: by `latents_mean` and
`latents_std` where it has them, else by `shift_factor` and `scaling_factor`. Whether that gives the
pipeline's own frames is checked when the pipeline is loaded (`vader_core.families.generic_probe`).

Letters: B videos, C channels, f latent frames, F frames, H and W sizes.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from vader_core.decoders import Decoder, unit_range
from vader_core.decoders.image import ImageDecoder
from vader_core.decoders.recurrent import RecurrentDecoder
from vader_core.decoders.wan import WanRecurrence
from vader_core.decoders.whole import WholeDecoder


def decoder_of(vae: Any) -> Decoder:
    """The decoder that bounds memory best."""
    name = type(vae).__name__
    if name == "AutoencoderKL":
        return ImageDecoder(vae)
    if name == "AutoencoderKLWan":
        return RecurrentDecoder(WanRecurrence(vae))
    decoder = getattr(vae, "decoder", vae)
    lists = [part for part in decoder.children() if isinstance(part, nn.ModuleList)]
    return WholeDecoder(
        functools.partial(_frames, vae), [block for part in lists for block in part]
    )


def _frames(vae: Any, latents_BCfHW: torch.Tensor) -> torch.Tensor:
    video_BCFHW = vae.decode(_unscaled(vae, latents_BCfHW.to(vae.dtype)), return_dict=False)[0]
    return unit_range(video_BCFHW.transpose(1, 2))


def _unscaled(vae: Any, latents_BCfHW: torch.Tensor) -> torch.Tensor:
    scale = vae.config.get("scaling_factor") or 1.0
    mean, std = (_figures(vae, name, latents_BCfHW) for name in ("latents_mean", "latents_std"))
    if mean is not None and std is not None:
        return latents_BCfHW * std / scale + mean
    return latents_BCfHW / scale + (vae.config.get("shift_factor") or 0.0)


def _figures(vae: Any, name: str, latents_BCfHW: torch.Tensor) -> torch.Tensor | None:
    """One figure a channel, from the autoencoder's buffers or its configuration."""
    held = vae.__dict__.get("_buffers", {}).get(name)
    figures = vae.config.get(name) if held is None else held
    if figures is None:
        return None
    return torch.as_tensor(figures).to(latents_BCfHW).view(1, -1, 1, 1, 1)
