from __future__ import annotations

import numpy as np
import pytest

from vader_core import divergence
from vader_core.errors import Diverged


def test_noise_never_counts_as_divergence() -> None:
    """Runs that learn nothing, with few or many held-out pairs and skewed or bell-shaped rewards."""
    rng = np.random.default_rng(3)
    for pairs in (2, 3, 8, 32):
        for _ in range(200):
            base = rng.normal(0.3, 0.05, pairs)
            steps = rng.normal(0.29, 0.05, (100, 4)).mean(1)
            for end in range(20, 101, 20):
                divergence.check(steps[end - 20 : end], base, step=end)


def test_a_collapsed_reward_raises_with_a_hint() -> None:
    base = np.random.default_rng(4).normal(0.3, 0.05, 16)
    with pytest.raises(Diverged, match=r"last 20 steps is -0\.1") as caught:
        divergence.check([-0.1] * 20, base, step=64)
    assert caught.value.step == 64
    assert "learning_rate" in caught.value.hint


def test_a_few_bad_steps_are_not_enough() -> None:
    base = np.random.default_rng(4).normal(0.3, 0.05, 16)
    divergence.check([-5.0] * 19, base, step=19)
    divergence.check([0.3] * 15 + [-0.1] * 5, base, step=20)
