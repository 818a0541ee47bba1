"""Frames that are decoded one by one: AutoencoderKL as the 3D UNets' pipelines use it.

Letters: B videos, f latent frames, F chosen frames, C channels, H and W sizes, N images.
"""

from __future__ import annotations

from typing import Any

import torch

from vader_core.decoders import rows, unit_range


class ImageDecoder:
    """`chunk_frames` frames are decoded together, counted over all videos."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any] | None,
    ) -> torch.Tensor:
        del states  # a frame needs nothing of those before it
        latents_NCHW = latents_BCfHW.transpose(1, 2)[rows(frame_indices_BF)]
        images_NCHW = torch.cat(
            [self._images(part) for part in torch.split(latents_NCHW, chunk_frames)]
        )
        return torch.unflatten(images_NCHW, 0, tuple(frame_indices_BF.shape))

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        del states
        where = rows(frame_indices_BF)
        latents_NCHW = latents_BCfHW.transpose(1, 2)[where].detach().requires_grad_()
        chunks = zip(
            torch.split(latents_NCHW, chunk_frames),
            torch.split(grad_frames_BFCHW.flatten(0, 1), chunk_frames),
            strict=True,
        )
        grads = [torch.autograd.grad(self._images(part), part, grad)[0] for part, grad in chunks]
        grad_BCfHW = torch.zeros_like(latents_BCfHW)
        grad_BCfHW.transpose(1, 2)[where] = torch.cat(grads)
        return grad_BCfHW

    def _images(self, latents_NCHW: torch.Tensor) -> torch.Tensor:
        latents_NCHW = latents_NCHW.to(self._vae.dtype) / self._vae.config.scaling_factor
        return unit_range(self._vae.decode(latents_NCHW, return_dict=False)[0])
