"""Masks, broken videos and loss of the temporal-consistency reward's training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vader_core.tiny import architectures, train_predictor, world


def _smooth(count: int = 4) -> torch.Tensor:
    return world.draw_batch(count, generator=torch.Generator().manual_seed(3)).frames_BFCHW


def test_masks_hide_some_tokens_and_show_the_others() -> None:
    model = architectures.video_predictor()
    tokens = torch.arange(4 * 4 * 4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        visible_V, hidden_U = train_predictor.draw_mask(model, generator=generator)
        assert len(visible_V) > 0
        assert len(hidden_U) > 0
        assert torch.equal(torch.cat([visible_V, hidden_U]).sort().values, tokens)


@pytest.mark.parametrize("kind", train_predictor.BREAKS)
def test_broken_videos_change_more_from_frame_to_frame(kind: str) -> None:
    frames = _smooth(32)
    generator = torch.Generator().manual_seed(1)
    bad = train_predictor.broken(frames, kind, generator=generator)
    assert bad.shape == frames.shape
    largest, usual = (video.diff(dim=1).abs().mean((2, 3, 4)).amax(1) for video in (bad, frames))
    assert (largest > usual).float().mean() > 0.9


def test_patches_are_the_pixels_that_a_token_is_made_of() -> None:
    model = architectures.video_predictor()
    pixels_BFCHW = torch.randn(2, 8, 3, 32, 32)
    conv = model.encoder.embeddings.patch_embeddings.proj
    by_hand = train_predictor.patches(model, pixels_BFCHW) @ conv.weight.flatten(1).T + conv.bias
    assert torch.allclose(by_hand, model.encoder.embeddings(pixels_BFCHW), atol=1e-4)


def test_the_loss_reaches_encoder_predictor_and_reader_but_not_the_teacher() -> None:
    model, teacher = architectures.video_predictor(), architectures.video_predictor()
    reader = nn.Linear(64, 384)
    mask = train_predictor.draw_mask(model, generator=torch.Generator().manual_seed(0))
    pixels_BFCHW = train_predictor.pixels(_smooth())
    loss = train_predictor.loss_of(model, reader, teacher, pixels_BFCHW, mask)
    torch.autograd.backward(loss)
    for part in (model.encoder, model.predictor, reader):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    assert all(p.grad is None for p in teacher.parameters())
