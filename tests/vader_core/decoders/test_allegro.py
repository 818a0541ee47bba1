from __future__ import annotations

import pytest
import torch

from tests.vader_core.conformance.models_allegro import autoencoder, shrink_tiles
from vader_core.decoders import decode
from vader_core.decoders.allegro import AllegroDecoder


@pytest.fixture(scope="module")
def vae() -> object:
    torch.manual_seed(0)
    vae = autoencoder().double().eval().requires_grad_(requires_grad=False)
    shrink_tiles(vae)
    vae.enable_tiling()
    vae.enable_slicing()
    return vae


def latents() -> torch.Tensor:
    """Two tiles along every axis."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn((2, 4, 3, 3, 3), generator=generator, dtype=torch.float64)


def own_frames(vae: object, latents_BCfHW: torch.Tensor) -> torch.Tensor:
    video = vae.decode(latents_BCfHW / vae.config.scaling_factor).sample  # type: ignore[attr-defined]
    return (video / 2 + 0.5).clamp(0, 1)  # type: ignore[no-any-return]


def test_frames_and_gradients_over_overlapping_tiles_are_the_autoencoders_own(vae: object) -> None:
    chosen = torch.tensor([[0, 5, 11], [3, 4, 7]])
    ours, theirs = latents().requires_grad_(), latents().requires_grad_()
    found = decode(AllegroDecoder(vae), ours, chosen, chunk_frames=1)
    every = own_frames(vae, theirs)
    expected = torch.stack([every[0, chosen[0]], every[1, chosen[1]]])
    assert torch.allclose(found, expected, atol=1e-6)
    assert 0 < float((expected == 1).double().mean()) < 0.5, "nothing is clamped"
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)).to(expected)
    (grad,) = torch.autograd.grad((found * direction).sum(), ours)
    (own_grad,) = torch.autograd.grad((expected * direction).sum(), theirs)
    assert (grad - own_grad).norm() < 1e-6 * own_grad.norm()


def test_only_tiles_with_chosen_frames_are_decoded(vae: object) -> None:
    calls = []
    handle = vae.decoder.conv_out.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[attr-defined]
    try:
        decode(AllegroDecoder(vae), latents()[:1], torch.tensor([[0, 1]]), chunk_frames=1)
        early = len(calls)
        decode(AllegroDecoder(vae), latents()[:1], torch.tensor([[1, 10]]), chunk_frames=1)
    finally:
        handle.remove()
    assert (early, len(calls) - early) == (4, 8)
