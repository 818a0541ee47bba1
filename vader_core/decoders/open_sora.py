"""Open-Sora 1.2's autoencoder, decoded one window of frames and a few images at a time.

Letters: B videos, f latent frames, F chosen frames, C channels, H and W sizes, N images.

A window of latent frames becomes a window of image latents (17 of 5, as published), and every image
latent an image. Windows know nothing of each other, so the gradient needs the graph of one window's
temporal decoder and, after it, of `chunk_frames` images at once, and is exact. Within a window every
frame depends on every latent: the temporal decoder's norms run over all of them. Windows without a
chosen frame are not decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from vader_core.decoders import unit_range


@dataclass(frozen=True)
class _Window:
    """A window of one video: its latents, the frames it has, and those that were chosen.

    `chosen` are numbers within the window; `places` says where they stand among the chosen frames.
    """

    video: int
    latents: slice
    frames: int
    chosen: list[int]
    places: list[int]


class OpenSoraDecoder:
    """Windows of `AutoencoderKLOpenSora`."""

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._mean, self._std = (
            torch.tensor(figures, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
            for figures in (vae.config.latents_mean, vae.config.latents_std)
        )

    def forward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any] | None,
    ) -> torch.Tensor:
        del states  # a window needs nothing of those before it
        height, width = (self._vae.scale_factor_spatial * n for n in latents_BCfHW.shape[-2:])
        frames_BFCHW = torch.zeros(
            (*frame_indices_BF.shape, 3, height, width),
            device=latents_BCfHW.device,
            dtype=self._vae.dtype,
        )
        for window in self._windows(frame_indices_BF, latents_BCfHW.shape[2]):
            spatial_NCHW = self._spatial(self._part(latents_BCfHW, window), window)
            images = [self._images(some) for some in torch.split(spatial_NCHW, chunk_frames)]
            frames_BFCHW[window.video, window.places] = torch.cat(images)
        return frames_BFCHW

    def backward(
        self,
        latents_BCfHW: torch.Tensor,
        frame_indices_BF: torch.Tensor,
        chunk_frames: int,
        states: list[Any],
        grad_frames_BFCHW: torch.Tensor,
    ) -> torch.Tensor:
        del states
        grad_BCfHW = torch.zeros_like(latents_BCfHW)
        for window in self._windows(frame_indices_BF, latents_BCfHW.shape[2]):
            latents = self._part(latents_BCfHW, window).detach().requires_grad_()
            spatial_NCHW = self._spatial(latents, window)
            chunks = zip(
                torch.split(spatial_NCHW.detach(), chunk_frames),
                torch.split(grad_frames_BFCHW[window.video, window.places], chunk_frames),
                strict=True,
            )
            grads = [self._image_gradient(some, grad) for some, grad in chunks]
            (grad,) = torch.autograd.grad(spatial_NCHW, latents, torch.cat(grads))
            self._part(grad_BCfHW, window).copy_(grad)
        return grad_BCfHW

    def _windows(self, frame_indices_BF: torch.Tensor, latent_frames: int) -> Iterator[_Window]:
        """The windows that hold a chosen frame, video after video."""
        length, size = self._vae.config.micro_frame_size, self._vae.window_latents
        for video, indices in enumerate(frame_indices_BF.tolist()):
            for number in sorted({index // length for index in indices}):
                stop = min((number + 1) * size, latent_frames)
                places = [at for at, index in enumerate(indices) if index // length == number]
                yield _Window(
                    video=video,
                    latents=slice(number * size, stop),
                    frames=self._vae.frames(stop - number * size),
                    chosen=[indices[at] % length for at in places],
                    places=places,
                )

    def _part(self, latents_BCfHW: torch.Tensor, window: _Window) -> torch.Tensor:
        """The latents (1, C, f, H, W) of `window`, a view."""
        return latents_BCfHW[window.video : window.video + 1, :, window.latents]

    def _spatial(self, latents_BCfHW: torch.Tensor, window: _Window) -> torch.Tensor:
        """The image latents (N, C, H, W) of the chosen frames of `window`."""
        unscaled = latents_BCfHW.to(self._vae.dtype) * self._std + self._mean
        decoded_BCFHW: torch.Tensor = self._vae.decode_window(unscaled, window.frames)
        return decoded_BCFHW[0, :, window.chosen].transpose(0, 1)

    def _images(self, spatial_NCHW: torch.Tensor) -> torch.Tensor:
        return unit_range(self._vae.decode_images(spatial_NCHW))

    def _image_gradient(self, spatial_NCHW: torch.Tensor, grad_NCHW: torch.Tensor) -> torch.Tensor:
        leaf = spatial_NCHW.requires_grad_()
        return torch.autograd.grad(self._images(leaf), leaf, grad_NCHW)[0]
