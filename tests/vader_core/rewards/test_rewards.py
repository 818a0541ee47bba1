from __future__ import annotations

import pytest
import torch

from tests.vader_core.tiny_models import PROMPTS, reward, weighted_sum
from vader_core import rewards
from vader_core.catalogue import BUILT_IN, RewardRow
from vader_core.errors import RewardNotFinite


def videos() -> torch.Tensor:
    return torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


HERE = [
    name
    for name, row in BUILT_IN.rewards.items()
    if row.revision in {"", "built-in"} and not row.needs_reference
]


@pytest.mark.parametrize("row", BUILT_IN.rewards.values(), ids=lambda row: row.id)
def test_every_row_of_the_catalogue_is_of_a_kind_that_exists(row: RewardRow) -> None:
    assert callable(rewards.kind_of(row))


@pytest.mark.parametrize("name", HERE)
def test_every_reward_of_the_catalogue_scores_within_its_range(name: str) -> None:
    prompts = [PROMPTS[0]] * 2
    score = reward(name, torch.float32).score(videos(), prompts)
    low, high = BUILT_IN.rewards[name].range
    assert score.shape == (2,)
    assert low is None or (score >= low).all()
    assert high is None or (score <= high).all()


@pytest.mark.parametrize("name", [n for n in HERE if BUILT_IN.rewards[n].differentiable])
def test_differentiable_rewards_are_and_their_models_are_frozen(name: str) -> None:
    frames = videos().requires_grad_()
    reward(name, torch.float32).score(frames, PROMPTS).sum().backward()
    assert frames.grad is not None
    assert frames.grad.abs().max() > 0


def test_weighted_sum_adds_weighted_scores_and_names_them() -> None:
    both = weighted_sum(torch.float32, motion=2.0, tiny_text_match=0.5)
    total, scores = both.score(videos(), PROMPTS, chunk_frames=3)
    assert list(scores) == ["motion", "tiny-text-match"]
    assert torch.allclose(total, 2 * scores["motion"] + 0.5 * scores["tiny-text-match"])


def test_score_that_is_not_finite_names_reward_and_prompt() -> None:
    frames = videos()
    frames[1, 2] = float("nan")
    with pytest.raises(RewardNotFinite, match=r"'motion'.*blue square") as caught:
        weighted_sum(torch.float32, motion=1.0).score(frames, PROMPTS, chunk_frames=3)
    assert caught.value.hint
