from __future__ import annotations

from pathlib import Path

import pytest

from tests.vader_core.convert.test_mps import small_folder, small_reward
from tests.vader_core.rewards import checks
from vader_core.errors import WeightsUnreadable


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("mps"))


def test_gradient_is_that_of_the_score_of_the_video_alone(folder: Path) -> None:
    reward, frames = small_reward(folder), checks.videos(40, 40)
    checks.assert_gradient_is_right(reward, frames)
    checks.assert_score_is_of_the_video_alone(reward, frames)


def test_threshold_decides_what_is_seen_of_the_prompt(folder: Path) -> None:
    frames = checks.videos(32, 32)
    strict, lax = (
        small_reward(folder, threshold).score(frames, checks.PROMPTS) for threshold in (0.95, -100)
    )
    assert (strict - lax).abs().min() > 1e-6


def test_clip_folder_without_cross_attention_is_refused() -> None:
    with pytest.raises(WeightsUnreadable, match=r"lacks cross_attention\.json"):
        small_reward(checks.TINY_CLIP)
