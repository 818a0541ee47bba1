from __future__ import annotations

import numpy as np
import pytest

from vader_core import divergence
from vader_core.divergence import OPENING_STEPS, WINDOW_STEPS, highest_plausible_deviation
from vader_core.errors import Diverged


def follow(rewards: np.ndarray, base: np.ndarray) -> None:
    """Checks after every fifth step of a run with these mean rewards."""
    for step in range(5, len(rewards) + 1, 5):
        recent = rewards[max(0, step - WINDOW_STEPS) : step]
        opening = rewards[: min(step, OPENING_STEPS)]
        divergence.check(recent.tolist(), opening.tolist(), base.tolist(), step=step)


def test_noise_never_counts_as_divergence() -> None:
    """Runs that learn nothing, with few or many held-out pairs."""
    rng = np.random.default_rng(3)
    for pairs in (2, 3, 8, 32):
        for _ in range(50):
            follow(rng.normal(0.29, 0.05, (100, 4)).mean(1), rng.normal(0.3, 0.05, pairs))


def test_videos_far_below_the_base_models_by_nature_do_not_count() -> None:
    """Runs that learn nothing, whose training videos are scored 10 deviations below held-out ones."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        follow(rng.normal(-0.2, 0.05, (100, 2)).mean(1), rng.normal(0.3, 0.05, 32))


def test_steps_that_differ_by_nature_do_not_count() -> None:
    """Predictions from denoising steps drawn at random: some are as good as videos, most are not."""
    rng = np.random.default_rng(6)
    for _ in range(50):
        level = rng.choice([0.3, -0.2, -0.4], 100)
        follow(level + rng.normal(0, 0.03, 100), rng.normal(0.3, 0.03, 32))


@pytest.mark.parametrize("began", [0.3, 0.6, -0.2])
def test_a_collapse_raises_with_a_hint_wherever_the_run_began(began: float) -> None:
    rng = np.random.default_rng(4)
    base = rng.normal(0.3, 0.05, 16)
    rewards = rng.normal(began, 0.02, 80)
    rewards[12:] = min(began, 0.3) - 0.6
    with pytest.raises(Diverged, match=r"The reward of the last 20 steps is .+ 10 steps") as caught:
        follow(rewards, base)
    assert caught.value.step is not None
    assert 20 <= caught.value.step < 40
    assert "learning_rate" in caught.value.hint


def test_a_run_that_falls_to_the_base_models_level_has_not_diverged() -> None:
    rng = np.random.default_rng(7)
    rewards = np.concatenate([rng.normal(0.9, 0.02, 30), rng.normal(0.3, 0.02, 40)])
    follow(rewards, rng.normal(0.3, 0.05, 16))


def test_a_few_bad_steps_are_not_enough() -> None:
    base = np.random.default_rng(4).normal(0.3, 0.05, 16).tolist()
    good = [0.3] * OPENING_STEPS
    divergence.check([-5.0] * 19, good, base, step=24)
    divergence.check([0.3] * 15 + [-0.1] * 5, good, base, step=25)
    with pytest.raises(Diverged):
        divergence.check([-0.1] * 20, good, base, step=25)


def test_few_scores_make_the_plausible_deviation_large() -> None:
    assert highest_plausible_deviation([0.3]) is None
    two = highest_plausible_deviation([0.0, 1.0])
    many = highest_plausible_deviation([0.0, 1.0] * 50)
    assert two is not None
    assert many is not None
    assert two > 20 * many > 10
