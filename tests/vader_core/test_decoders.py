from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.vader_core import plain_autograd
from tests.vader_core.tiny_models import NAMES, Scene, scene
from vader_core.decoders import recurrent
from vader_core.frames import every_frame

FRAMES = 7
# Two videos with different frames; the last latent frames are not needed.
CHOSEN = torch.tensor([[0, 3], [1, 4]])


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> Scene:
    return scene(request.param, num_frames=FRAMES)


def latents_of(case: Scene) -> torch.Tensor:
    return case.noise.to(torch.float64)


@pytest.mark.parametrize("chunk_frames", [1, 4, 100])
def test_frames_are_those_of_the_pipelines_decoding(case: Scene, chunk_frames: int) -> None:
    expected = plain_autograd.decoded(case, latents_of(case))
    found = case.base.decode(
        latents_of(case), every_frame(num_frames=FRAMES, batch=2), chunk_frames=chunk_frames
    )
    assert found.shape == (2, FRAMES, 3, 16, 16)
    assert torch.allclose(found, expected.to(found.dtype), atol=1e-6)
    assert not found.requires_grad


def test_frames_are_those_of_decode_latents() -> None:
    case = scene("tiny-unet", torch.float32, num_frames=FRAMES)
    pipeline = case.base.pipeline
    with torch.no_grad():
        video = pipeline.decode_latents(case.noise)
    expected = pipeline.video_processor.postprocess_video(video, output_type="pt")
    found = case.base.decode(case.noise, every_frame(num_frames=FRAMES, batch=2))
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("chunk_frames", [1, 2, 100])
def test_gradient_is_that_of_decoding_everything_at_once(case: Scene, chunk_frames: int) -> None:
    """Also with frames that differ between videos, and with no frame chosen of a whole window."""
    latents = latents_of(case).requires_grad_()
    direction = torch.randn(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    every = plain_autograd.decoded(case, latents)
    chosen = torch.stack([every[video, frames] for video, frames in enumerate(CHOSEN)])
    (expected,) = torch.autograd.grad((chosen * direction).sum(), latents)
    frames = case.base.decode(latents, CHOSEN, chunk_frames=chunk_frames)
    (found,) = torch.autograd.grad((frames * direction).sum(), latents)
    assert (found - expected).norm() < 1e-6 * expected.norm()


@pytest.mark.parametrize("kept_bytes", [0, 20_000])
def test_states_that_are_not_kept_are_made_again(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    """The gradient is the same where all states but a few, or but the first, are made by bisection."""
    case = scene("tiny-wan", num_frames=13)
    every = every_frame(num_frames=13, batch=2)

    def gradient() -> torch.Tensor:
        latents = latents_of(case).requires_grad_()
        frames = case.base.decode(latents, every, chunk_frames=1)
        return torch.autograd.grad(frames.square().sum(), latents)[0]

    expected = gradient()
    monkeypatch.setattr(recurrent, "KEPT_BYTES", kept_bytes)
    states: list[Any] = []
    case.base.decoder.forward(latents_of(case), every, 1, states)
    assert len(states) < 7
    assert torch.allclose(gradient(), expected, rtol=1e-9, atol=1e-12)


def test_a_gradient_can_be_pulled_back_twice() -> None:
    case = scene("tiny-wan", num_frames=FRAMES)
    latents = latents_of(case).requires_grad_()
    frames = case.base.decode(latents, every_frame(num_frames=FRAMES, batch=2), chunk_frames=1)
    once, again = (
        torch.autograd.grad(frames.sum(), latents, retain_graph=True)[0] for _ in range(2)
    )
    assert torch.allclose(once, again, rtol=1e-9, atol=1e-12)


def test_later_frames_owe_gradient_to_all_earlier_latents() -> None:
    """The causal decoder's context is not cut at a window's border."""
    case = scene("tiny-wan", num_frames=FRAMES)
    latents = latents_of(case).requires_grad_()
    frames = case.base.decode(latents, torch.tensor([[FRAMES - 1]] * 2), chunk_frames=1)
    (gradient,) = torch.autograd.grad(frames.square().sum(), latents)
    assert all(gradient[:, :, frame].abs().max() > 0 for frame in range(gradient.shape[2]))


def test_latents_after_the_last_chosen_frame_are_not_decoded() -> None:
    case = scene("tiny-wan", num_frames=FRAMES)
    broken = latents_of(case)
    broken[:, :, 3:] = float("nan")
    assert case.base.decode(broken, CHOSEN).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_smaller_chunks_keep_less_for_the_backward_pass(name: str) -> None:
    """The largest graph of the backward pass, in bytes of saved tensors alive at once."""
    case = scene(name, num_frames=FRAMES)

    def peak(chunk_frames: int) -> int:
        latents = latents_of(case).requires_grad_()
        frames = case.base.decode(
            latents, every_frame(num_frames=FRAMES, batch=2), chunk_frames=chunk_frames
        )
        alive = Alive()
        with torch.autograd.graph.saved_tensors_hooks(alive.keep, alive.give):
            torch.autograd.grad(frames.sum(), latents)
        return alive.peak

    assert peak(1) < peak(100) / 3


class Alive:
    """Counts the bytes of the tensors that a graph holds."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def keep(self, tensor: torch.Tensor) -> Held:
        return Held(self, tensor)

    def give(self, held: Held) -> torch.Tensor:
        return held.tensor


class Held:
    def __init__(self, alive: Alive, tensor: torch.Tensor) -> None:
        self.alive, self.tensor = alive, tensor
        alive.now += tensor.nbytes
        alive.peak = max(alive.peak, alive.now)

    def __del__(self) -> None:
        self.alive.now -= self.tensor.nbytes
