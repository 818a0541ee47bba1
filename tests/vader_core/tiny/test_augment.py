"""The faults that drawn frames are given."""

from __future__ import annotations

import pytest
import torch

from vader_core.tiny import augment, world


def _frames(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return world.draw_batch(count, generator=generator).frames_BFCHW


def test_softened_videos_stay_close_to_the_drawn_ones_and_within_range() -> None:
    frames = _frames(16)
    softened = augment.soften(frames, generator=torch.Generator().manual_seed(2))
    assert softened.shape == frames.shape
    assert softened.min() >= 0
    assert softened.max() <= 1
    assert 0 < (softened - frames).abs().mean() < 0.1


@pytest.mark.parametrize("fault", range(len(augment.FAULTS)))
def test_each_fault_changes_every_frame_and_keeps_it_within_range(fault: int) -> None:
    frames = _frames(16)[:, 0]
    chosen = torch.full((16,), fault)
    damaged = augment.damage(frames, chosen, generator=torch.Generator().manual_seed(2))
    assert damaged.min() >= 0
    assert damaged.max() <= 1
    assert ((damaged - frames).abs().flatten(1).mean(1) > 0.004).all()


def test_the_washed_out_fault_takes_contrast_away() -> None:
    frames = _frames(16)[:, 0]
    chosen = torch.full((16,), augment.FAULTS.index("washed out"))
    damaged = augment.damage(frames, chosen, generator=torch.Generator().manual_seed(2))
    assert (damaged.flatten(1).std(1) < frames.flatten(1).std(1)).all()
