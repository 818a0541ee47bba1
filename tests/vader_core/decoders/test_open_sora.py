"""Windows of Open-Sora's autoencoder give the frames and gradients of decoding everything at once."""

from __future__ import annotations

import pytest
import torch

from tests.vader_core.conformance import models_open_sora
from vader_core.decoders import decode
from vader_core.decoders.open_sora import OpenSoraDecoder

# 15 frames are three windows of 3 latent frames each.
CHOICES = [[[0, 4, 5, 9, 10, 14], [1, 2, 3, 11, 12, 13]], [[7], [8]], [list(range(15))] * 2]


@pytest.mark.parametrize("chosen", CHOICES, ids=["some", "one", "all"])
@pytest.mark.parametrize("chunk_frames", [1, 4, 100])
def test_frames_and_gradients_are_those_of_the_pipelines_own_decode(
    chosen: list[list[int]], chunk_frames: int
) -> None:
    pipeline = models_open_sora.pipeline(torch.float64)
    vae, indices = pipeline.vae, torch.tensor(chosen)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((2, 4, 9, 2, 3), generator=generator, dtype=torch.float64)
    latents.requires_grad_()
    mean, std = (
        torch.tensor(figures, dtype=torch.float64).view(1, -1, 1, 1, 1)
        for figures in (vae.config.latents_mean, vae.config.latents_std)
    )
    video = vae.decode(latents * std + mean, 15).sample.transpose(1, 2)
    whole = (video / 2 + 0.5).clamp(0, 1)
    expected = torch.stack([frames[rows] for frames, rows in zip(whole, indices, strict=True)])
    frames = decode(OpenSoraDecoder(vae), latents, indices, chunk_frames=chunk_frames)
    assert torch.allclose(frames, expected, atol=1e-10)
    weights = torch.randn(frames.shape, generator=generator, dtype=torch.float64)
    gradients = [
        torch.autograd.grad((made * weights).sum(), latents)[0] for made in (frames, expected)
    ]
    assert gradients[1].abs().max() > 0
    assert torch.allclose(*gradients, atol=1e-10)


def test_frames_are_those_that_the_pipeline_returns() -> None:
    pipeline = models_open_sora.pipeline()
    size = {"height": 8, "width": 12, "num_frames": 10, "num_inference_steps": 1}
    start = torch.randn((1, 4, 6, 2, 3), generator=torch.Generator().manual_seed(0))
    latents = pipeline("a circle", **size, latents=start, output_type="latent").frames
    video = pipeline("a circle", **size, latents=start, output_type="pt").frames
    frames = decode(OpenSoraDecoder(pipeline.vae), latents, torch.arange(10)[None], chunk_frames=8)
    assert torch.allclose(frames, video, atol=1e-5)


def test_a_window_without_a_chosen_frame_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = models_open_sora.pipeline()
    calls = []
    decode_window = pipeline.vae.decode_window
    monkeypatch.setattr(
        pipeline.vae, "decode_window", lambda *args: calls.append(1) or decode_window(*args)
    )
    latents = torch.randn(2, 4, 9, 2, 3)
    decode(OpenSoraDecoder(pipeline.vae), latents, torch.tensor([[6], [12]]), chunk_frames=8)
    assert len(calls) == 2
