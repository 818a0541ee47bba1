from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.vader_core.methods.benches import learner
from tests.vader_core.tiny_models import NAMES
from vader_core.method_spec import SftBest
from vader_core.methods.collecting import collect
from vader_core.methods.noising import Noised
from vader_core.methods.regression import Group, ranked_groups
from vader_core.methods.sft_best import SftBestLearner, weights_B

STEPS = 3


def settings(**fields: Any) -> SftBest:
    return SftBest(type="sft_best", **fields)


def sft_learner(name: str = "tiny-wan", **method: Any) -> SftBestLearner:
    """Two groups of two videos a step."""
    made = learner(
        base_model=name,
        method={
            "type": "sft_best",
            "batch_size": 4,
            "gradient_accumulation": 1,
            "group_size": 2,
            "learning_rate": 1e-4,
            **method,
        },
        video={"inference_steps": STEPS, "guidance_scale": 3.0},
    )
    assert isinstance(made, SftBestLearner)
    return made


def groups_of_step(made: SftBestLearner) -> list[Group]:
    return ranked_groups(collect(made.bench, made.spec, step=0, end_only=True), size=2)


def mean_errors(made: SftBestLearner, groups: list[Group]) -> torch.Tensor:
    """Every video's error, mean over the steps, in the order of the groups."""
    videos = [video for group in groups for video in group.videos]
    return Noised(made.bench, made.spec, videos, step=0, steps=range(STEPS)).errors_KB().mean(0)


def test_softmax_weights_are_those_of_the_normalised_rewards() -> None:
    """Two rewards are one deviation to either side of their mean, whatever they are."""
    for temperature in (0.5, 1.0, 3.0):
        method = settings(weighting="softmax", temperature=temperature)
        weight_B = weights_B(torch.tensor([7.0, -1.0]), method)
        assert float(weight_B[0]) == pytest.approx(1 / (1 + math.exp(-2 / temperature)))
        assert float(weight_B.sum()) == pytest.approx(1)


def test_weights_sum_to_one_and_rise_with_the_reward() -> None:
    total_B = torch.tensor([0.1, 0.7, 0.4, 0.2])
    weight_B = weights_B(total_B, settings(weighting="softmax"))
    assert float(weight_B.sum()) == pytest.approx(1)
    assert torch.equal(weight_B.argsort(), total_B.argsort())
    assert torch.equal(
        weights_B(3 * total_B + 1, settings(weighting="softmax")).argsort(), total_B.argsort()
    )
    assert weights_B(total_B, settings(weighting="best")).tolist() == [0, 1, 0, 0]
    cold_B = weights_B(total_B, settings(weighting="softmax", temperature=0.01))
    torch.testing.assert_close(cold_B, weights_B(total_B, settings()))


@pytest.mark.parametrize("weighting", ["best", "softmax"])
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_weighted_error_of_the_groups(name: str, weighting: str) -> None:
    made = sft_learner(name, weighting=weighting, learning_rate=0.0)
    groups = groups_of_step(made)
    weight_B = torch.cat([weights_B(group.total_B, made._method) for group in groups])
    expected = (mean_errors(made, groups) * weight_B.to(mean_errors(made, groups))).sum() / len(
        groups
    )
    assert made.step(0).loss == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_one_update_lowers_the_errors_of_the_best(name: str) -> None:
    made = sft_learner(name)
    groups = groups_of_step(made)
    best_B = torch.cat([weights_B(group.total_B, made._method) for group in groups]).bool()
    before_B = mean_errors(made, groups)
    made.step(0)
    assert float(mean_errors(made, groups)[best_B].mean()) < float(before_B[best_B].mean())


def test_videos_come_from_the_adapter_or_from_the_base_model() -> None:
    current, base = sft_learner().step(0), sft_learner(videos_from="base").step(0)
    assert not torch.equal(current.total_B, base.total_B)
    made = sft_learner()
    with made.bench.adapter.disabled():
        expected = collect(made.bench, made.spec, step=0, end_only=True).total_B
    assert torch.equal(base.total_B, expected)
