from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch.nn.functional import avg_pool2d

from tests.vader_core.rewards import checks
from tests.vader_core.tiny_models import reward
from vader_core.rewards import ReferenceReward
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


def test_diversity_keeps_prompts_apart_that_differ_in_their_image_alone() -> None:
    videos = torch.cat([grey(0.0, 0.0), grey(0.9, 0.9), grey(0.3, 0.3), grey(0.3, 0.3)])
    animate = [Prompt(prompt="animate", image=f"{name}.png") for name in ("a", "b", "a", "b")]
    assert reward("diversity").score(videos, animate).tolist() == pytest.approx([0.3, 0.6] * 2)


def test_diversity_of_one_video_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 videos of every prompt: 'b'"):
        reward("diversity").score(torch.cat([grey(0.0, 0.0)] * 3), prompts("a", "a", "b"))


def wave(height: int, width: int) -> torch.Tensor:
    """The same smooth picture at any size, as one video of one frame."""
    y = (torch.arange(height) + 0.5) / height
    x = (torch.arange(width) + 0.5) / width
    picture_HW = 0.5 + 0.25 * (torch.cos(19 * y)[:, None] + torch.cos(23 * x))
    return picture_HW.expand(1, 1, 3, height, width)


def test_sharpness_is_the_variance_of_the_laplacian_of_luma() -> None:
    frames = checks.videos(256, 300)
    luma_NHW = np.einsum("nchw,c->nhw", frames.flatten(0, 1).numpy(), [0.299, 0.587, 0.114])
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    variances = [convolve2d(luma_HW, kernel, mode="valid").var() for luma_HW in luma_NHW]
    expected = np.array(variances).reshape(2, 3).mean(1)
    assert reward("sharpness").score(frames, checks.PROMPTS).tolist() == pytest.approx(expected)


def test_sharpness_is_that_of_the_picture_at_any_resolution() -> None:
    one, two, three = (
        reward("sharpness").score(wave(*size), prompts("a")).item()
        for size in [(128, 160), (256, 320), (512, 640)]
    )
    # On the pixels themselves each doubling would divide it by 16.
    assert one == pytest.approx(two, rel=0.2)
    assert three == pytest.approx(two, rel=0.2)


def test_blur_is_less_sharp_and_plain_frames_are_not_sharp_at_all() -> None:
    sharp = checks.videos(64, 64)
    blurred = avg_pool2d(sharp.flatten(0, 1), 3, stride=1, padding=1, count_include_pad=False)
    found = [
        reward("sharpness").score(frames, checks.PROMPTS)
        for frames in (sharp, blurred.view_as(sharp), torch.full_like(sharp, 0.3))
    ]
    assert (found[0] > found[1]).all()
    assert (found[1] > found[2]).all()
    assert found[2].max() < 1e-20


def test_sharpness_has_the_right_gradient_and_looks_at_each_video_alone() -> None:
    checks.assert_gradient_is_right(reward("sharpness"), checks.videos())
    checks.assert_score_is_of_the_video_alone(reward("sharpness"), checks.videos())


def closeness() -> ReferenceReward:
    made = reward("reference-distance")
    assert isinstance(made, ReferenceReward)
    return made


def test_the_base_models_own_video_is_closest_to_it() -> None:
    base = torch.cat([grey(0.2, 0.4), grey(1.0, 1.0)])
    far = torch.cat([grey(0.3, 0.6), grey(0.0, 0.0)])
    assert closeness().compare(base, base).tolist() == [1.0, 1.0]
    assert closeness().compare(far, base).tolist() == pytest.approx([0.85, 0.0])


def test_closeness_without_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="can only be a guard"):
        reward("reference-distance").score(grey(0.5), prompts("a"))
