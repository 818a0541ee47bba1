from __future__ import annotations

from pathlib import Path

import pytest

from tests.vader_core.convert.test_image_reward import small_folder, small_reward
from tests.vader_core.rewards import checks
from vader_core.errors import WeightsUnreadable


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("image_reward"))


def test_gradient_is_that_of_the_score_of_the_video_alone(folder: Path) -> None:
    reward, frames = small_reward(folder), checks.videos(40, 40)
    checks.assert_gradient_is_right(reward, frames)
    checks.assert_score_is_of_the_video_alone(reward, frames)


def test_long_prompts_are_cut_and_each_video_has_its_own(folder: Path) -> None:
    reward, frames = small_reward(folder), checks.videos(32, 32)
    long = [prompt.model_copy(update={"prompt": prompt.prompt * 30}) for prompt in checks.PROMPTS]
    assert reward.score(frames, long).isfinite().all()
    swapped = reward.score(frames, checks.PROMPTS[::-1])
    assert (reward.score(frames, checks.PROMPTS) - swapped).abs().min() > 1e-6


def test_missing_half_is_named(folder: Path) -> None:
    config = folder / "text_encoder" / "config.json"
    kept = config.read_bytes()
    config.unlink()
    try:
        with pytest.raises(WeightsUnreadable, match=r"text_encoder lacks config\.json"):
            small_reward(folder)
    finally:
        config.write_bytes(kept)
