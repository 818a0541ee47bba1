from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from vader_core.decoders import decode
from vader_core.decoders.whole import WholeDecoder

CHUNK = 2


class Mixing(nn.Module):
    """Makes every frame depend on every latent frame; notes how often it ran, and on what."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.lengths.append(len(images_NCHW))
        return images_NCHW * images_NCHW.mean(0).tanh()


class Images(Mixing):
    """Treats every frame by itself."""

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        self.lengths.append(len(images_NCHW))
        return images_NCHW.sin() + 0.1 * torch.rand(1)


class Subject:
    """A decoder of both kinds of blocks, the second with a random part, as LTX-Video's has."""

    def __init__(self, clip: int | None = None) -> None:
        self.mixing, self.images = Mixing(), Images()
        self.decoder = WholeDecoder(self.frames, [self.mixing], [self.images], clip=clip)

    def frames(self, latents_BCfHW: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            images = latents_BCfHW[0].transpose(0, 1)
            decoded: torch.Tensor = self.images(self.mixing(self.images(images)))
            return decoded[None]


def latents() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 5, 2, 2, generator=generator, dtype=torch.float64)


def chosen(frames: torch.Tensor, indices: Sequence[Sequence[int]]) -> torch.Tensor:
    return torch.stack([video[list(index)] for video, index in zip(frames, indices, strict=True)])


INDICES = [[0, 3], [1, 4]]


@pytest.mark.parametrize("clip", [None, 2])
def test_frames_and_gradients_are_those_of_decoding_everything_at_once(clip: int | None) -> None:
    plain = Subject()
    given = latents().requires_grad_()
    size = clip or 5
    videos = [
        torch.cat([plain.frames(part)[0] for part in video[None].split(size, dim=2)])
        for video in given
    ]
    expected = chosen(torch.stack(videos), INDICES)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (wanted,) = torch.autograd.grad((expected * weights).sum(), given)
    # The random part of a block that takes frames a few at a time differs from chunk to chunk.
    for chunk_frames in (5, 100):
        decoder = Subject(clip).decoder
        found = decode(decoder, given, torch.tensor(INDICES), chunk_frames=chunk_frames)
        assert torch.equal(found, expected)
        (grad,) = torch.autograd.grad((found * weights).sum(), given)
        assert torch.allclose(grad, wanted, rtol=1e-12)


def test_only_blocks_that_treat_frames_apart_are_run_in_chunks() -> None:
    subject = Subject()
    given = latents()[:1].requires_grad_()
    frames = decode(subject.decoder, given, torch.tensor([[0, 4]]), chunk_frames=CHUNK)
    torch.autograd.grad(frames.sum(), given)
    assert set(subject.mixing.lengths) == {5}
    assert max(subject.images.lengths) == CHUNK
    # Once without a graph, once with, once more for its own backward.
    assert len(subject.mixing.lengths) == 3


def test_clips_without_chosen_frames_are_not_decoded() -> None:
    subject = Subject(clip=2)
    given = latents().requires_grad_()
    frames = decode(subject.decoder, given, torch.tensor([[0], [4]]), chunk_frames=100)
    assert subject.mixing.lengths == [2, 1]
    (grad,) = torch.autograd.grad(frames.sum(), given)
    assert grad[0, :, 2:].abs().max() == 0
    assert grad[1, :, :4].abs().max() == 0
    assert grad[1, :, 4:].abs().min() > 0


def test_blocks_are_left_as_they_were() -> None:
    subject = Subject()
    decode(subject.decoder, latents(), torch.tensor(INDICES), chunk_frames=1)
    assert "forward" not in vars(subject.mixing)
    assert "forward" not in vars(subject.images)
