"""The labels from which the action reward learns."""

from __future__ import annotations

import torch

from vader_core.tiny import train_action, world


def test_soft_labels_follow_the_velocity() -> None:
    right, slower, still, diagonal = train_action.soft_labels(
        torch.tensor([[1.6, 0.0], [0.8, 0.0], [0.0, 0.0], [1.2, 1.2]])
    )
    index = world.DIRECTION_NAMES.index("right")
    assert right.argmax() == index
    assert 0.85 < right[index] < 0.95
    assert right[index] > slower[index] > still[index]
    assert torch.allclose(still, torch.full((4,), 0.25))
    assert torch.isclose(diagonal[index], diagonal[world.DIRECTION_NAMES.index("down")])


def test_clips_have_eight_frames_even_when_one_is_skipped() -> None:
    for skip in (False, True):
        generator = torch.Generator().manual_seed(0)
        clips, labels_BD = train_action.draw_clips(4, generator=generator, skip=skip)
        assert clips.shape == (4, 8, 3, 32, 32)
        assert torch.allclose(labels_BD.sum(-1), torch.ones(4))
