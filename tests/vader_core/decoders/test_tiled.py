"""Tiles, blended, are the autoencoder's own decode; each tile's graph is gone before the next one's begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.vader_core.conformance import (
    models_cogvideox,
    models_hunyuan_video,
    models_hunyuan_video_15,
    models_mochi,
)
from vader_core.decoders import decode
from vader_core.decoders.cogvideox import cogvideox_decoder
from vader_core.decoders.hunyuan_video import hunyuan_video_15_decoder, hunyuan_video_decoder
from vader_core.decoders.mochi import carry_on, mochi_decoder
from vader_core.decoders.tiled import TiledDecoder, checkpoint_layers


@dataclass
class _Subject:
    """An autoencoder that lays tiles of 16 pixels, its decoder, and latents of more than one tile."""

    vae: Any
    decoder: TiledDecoder
    latents: torch.Tensor

    def plain(self) -> torch.Tensor:
        """All frames (B, F, 3, H, W) of the autoencoder's own decode, in one graph."""
        config = self.vae.config
        unscaled = self.latents / config.scaling_factor
        if getattr(config, "latents_mean", None) is not None:
            mean, std = (
                torch.tensor(figures, dtype=torch.float64).view(1, -1, 1, 1, 1)
                for figures in (config.latents_mean, config.latents_std)
            )
            unscaled = unscaled * std + mean
        video: torch.Tensor = self.vae.decode(unscaled, return_dict=False)[0]
        return (video.transpose(1, 2) / 2 + 0.5).clamp(0, 1)


def _cogvideox() -> _Subject:
    # Three tiles in each direction; two groups of latent frames.
    vae = models_cogvideox.autoencoder(sample_height=32, sample_width=32)
    return _subject(vae, cogvideox_decoder, frames=5, scale=4)


def _hunyuan_video() -> _Subject:
    # Two temporal tiles.
    vae = models_hunyuan_video.autoencoder()
    vae.tile_sample_min_height = vae.tile_sample_min_width = 16
    vae.tile_sample_stride_height = vae.tile_sample_stride_width = 8
    return _subject(vae, hunyuan_video_decoder, frames=5, scale=8)


def _hunyuan_video_15() -> _Subject:
    vae = models_hunyuan_video_15.autoencoder()
    vae.tile_sample_min_height = vae.tile_sample_min_width = 16
    vae.tile_latent_min_height = vae.tile_latent_min_width = 2
    vae.tile_overlap_factor = 0.5
    vae.use_slicing = True
    return _subject(vae, hunyuan_video_15_decoder, frames=3, scale=8)


def _mochi() -> _Subject:
    # Two tiles: its norms cannot take one pixel, as the others' can.
    vae = models_mochi.autoencoder()
    vae.tile_sample_min_height = vae.tile_sample_min_width = 24
    vae.tile_sample_stride_height = vae.tile_sample_stride_width = 16
    return _subject(vae, mochi_decoder, frames=2, scale=8, width=32)


def _subject(
    vae: Any,
    decoder: Callable[[Any], TiledDecoder],
    *,
    frames: int,
    scale: int,
    width: int = 24,
) -> _Subject:
    vae = vae.double().eval().requires_grad_(requires_grad=False)
    vae.use_tiling = True
    generator = torch.Generator().manual_seed(0)
    shape = (2, vae.config.latent_channels, frames, 16 // scale, width // scale)
    latents = torch.randn(shape, generator=generator, dtype=torch.float64)
    return _Subject(vae, decoder(vae), latents.requires_grad_())


@pytest.mark.parametrize("make", [_cogvideox, _hunyuan_video, _hunyuan_video_15, _mochi])
def test_frames_and_gradients_are_those_of_the_autoencoders_own_decode(
    make: Callable[[], _Subject],
) -> None:
    subject = make()
    plain = subject.plain()
    if make is _mochi:
        # The convolutions that carry on are put in place only now: the reference had the library's.
        carry_on(subject.vae)
    if make is not _hunyuan_video_15:
        checkpoint_layers(subject.vae)
    last = plain.shape[1] - 1
    weights = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1)).double()
    for indices in (torch.arange(last + 1).repeat(2, 1), torch.tensor([[0], [last - 1]])):
        chosen = torch.arange(2)[:, None], indices
        (expected,) = torch.autograd.grad(
            (plain[chosen] * weights[chosen]).sum(), subject.latents, retain_graph=True
        )
        frames = decode(subject.decoder, subject.latents, indices, chunk_frames=5)
        assert torch.allclose(frames, plain[chosen].detach(), atol=1e-10)
        (found,) = torch.autograd.grad((frames * weights[chosen]).sum(), subject.latents)
        assert expected.abs().max() > 1e-6
        assert torch.allclose(found, expected, atol=1e-10 * float(expected.abs().max()))


def test_tiles_that_no_chosen_frame_is_made_of_are_not_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = _hunyuan_video()
    subject.vae.use_tiling = False
    decoded = []
    forward = type(subject.vae.decoder).forward

    def counted(self: Any, latents: torch.Tensor) -> Any:
        decoded.append(latents.shape[2])
        return forward(self, latents)

    monkeypatch.setattr(type(subject.vae.decoder), "forward", counted)
    first, blended, last = torch.tensor([[3]]), torch.tensor([[14]]), torch.tensor([[16]])
    with torch.no_grad():
        # Tiles of 5 latent frames in strides of 3: frames 13 to 16 are blended of two.
        decode(subject.decoder, subject.latents[:1], first, chunk_frames=8)
        assert decoded == [5]
        decode(subject.decoder, subject.latents[:1], blended, chunk_frames=8)
        assert decoded == [5, 5, 2]
        decode(subject.decoder, subject.latents[:1], last, chunk_frames=8)
    assert decoded == [5, 5, 2, 5, 2]


def test_a_prefix_is_decoded_where_only_early_frames_are_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = _cogvideox()
    subject.vae.use_tiling = False
    decoded = []
    forward = type(subject.vae.decoder).forward

    def counted(self: Any, latents: torch.Tensor, conv_cache: Any = None) -> Any:
        decoded.append(latents.shape[2])
        return forward(self, latents, conv_cache=conv_cache)

    monkeypatch.setattr(type(subject.vae.decoder), "forward", counted)
    with torch.no_grad():
        decode(subject.decoder, subject.latents[:1], torch.tensor([[8]]), chunk_frames=8)
        assert decoded == [3]
        decode(subject.decoder, subject.latents[:1], torch.tensor([[9]]), chunk_frames=8)
    assert decoded == [3, 3, 2]
