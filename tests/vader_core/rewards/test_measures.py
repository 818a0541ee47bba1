from __future__ import annotations

import pytest
import torch

from tests.vader_core.tiny_models import reward
from vader_core.spec import Prompt


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(prompt=text) for text in texts]


def grey(*levels: float) -> torch.Tensor:
    """One video (1, F, 3, 4, 4) whose frames are plain greys."""
    return torch.tensor(levels).view(1, -1, 1, 1, 1).expand(1, -1, 3, 4, 4).clone()


def test_motion_is_the_mean_change_between_frames() -> None:
    videos = torch.cat([grey(0.5, 0.5, 0.5), grey(0.0, 1.0, 0.0), grey(0.0, 0.1, 0.3)])
    found = reward("motion").score(videos, prompts("a", "b", "c"))
    assert found.tolist() == pytest.approx([0.0, 1.0, 0.15])


def test_motion_has_a_gradient() -> None:
    videos = grey(0.0, 0.1, 0.4).requires_grad_()
    reward("motion").score(videos, prompts("a")).sum().backward()
    assert videos.grad is not None
    assert videos.grad[0, 2].min() > 0 > videos.grad[0, 0].max()


def test_motion_of_a_single_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 frames"):
        reward("motion").score(grey(0.5), prompts("a"))


def test_diversity_compares_the_videos_of_one_prompt() -> None:
    videos = torch.cat(
        [grey(0.0, 0.0), grey(0.9, 0.9), grey(0.3, 0.3), grey(0.3, 0.3), grey(1.0, 0.0)]
    )
    found = reward("diversity").score(videos, prompts("a", "b", "a", "b", "b"))
    expected = [0.3, (0.6 + 0.5) / 2, 0.3, (0.6 + 0.5) / 2, 0.5]
    assert found.tolist() == pytest.approx(expected)


def test_diversity_of_one_video_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 videos of every prompt: 'b'"):
        reward("diversity").score(torch.cat([grey(0.0, 0.0)] * 3), prompts("a", "a", "b"))
