from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.vader_core.methods.benches import learner, weights
from tests.vader_core.methods.points import normal, point, process_of
from vader_core.method_spec import Nft
from vader_core.methods.nft import NftLearner, goodness_B, losses_B, old_policy_decay
from vader_core.process import Prediction

# How far the predicted clean sample is off for an output that is off by 1, at alpha 0.6 (a flow's is 0.2)
# and sigma 0.8; a noise prediction counts as a v prediction.
CLEAN_ERRORS: dict[Prediction, float] = {
    "epsilon": 0.8,
    "clean": 1.0,
    "v": 0.8,
    "flow": 0.8,
    "flow_to_data": 0.8,
}


def settings(**fields: Any) -> Nft:
    return Nft(type="nft", **{"group_size": 2, **fields})


def nft_learner(**method: Any) -> NftLearner:
    made = learner(
        base_model="tiny-wan",
        method={
            "type": "nft",
            "batch_size": 4,
            "gradient_accumulation": 1,
            "group_size": 4,
            "learning_rate": 1e-3,
            **method,
        },
    )
    assert isinstance(made, NftLearner)
    return made


def pull(r: float, *, prediction: Prediction = "flow", old: float = 0.3, **fields: Any) -> float:
    """The derivative of the loss of one number by the adapter's prediction, where that is `at`."""
    at = torch.tensor(fields.pop("at", old), dtype=torch.float64, requires_grad=True)
    made = point(process_of(prediction), normal(1), normal(1, 1), bias=at)
    r_B = torch.tensor([r], dtype=torch.float64)
    losses_B(
        made, torch.full((1, 1), old, dtype=torch.float64), r_B, settings(**fields)
    ).sum().backward()  # type: ignore[no-untyped-call]
    assert at.grad is not None
    return float(at.grad)


def target(prediction: Prediction) -> float:
    made = point(process_of(prediction), normal(1), normal(1, 1))
    return float(made.process.target(0, made.clean, made.noise))


@pytest.mark.parametrize("prediction", CLEAN_ERRORS)
@pytest.mark.parametrize("beta", [1.0, 0.1])
def test_a_wholly_good_video_is_regressed_to(prediction: Prediction, beta: float) -> None:
    """At the old policy the squared error over the absolute one has the derivative 2 * its sign."""
    sign = math.copysign(1, 0.3 - target(prediction))
    expected = 5 * CLEAN_ERRORS[prediction] * 2 * sign
    assert pull(1.0, prediction=prediction, beta=beta) == pytest.approx(expected)


def test_at_the_old_policy_the_pull_is_that_of_the_goodness() -> None:
    """(2r - 1) times the regression: away from bad videos, nowhere for one in the middle."""
    whole = pull(1.0)
    assert pull(0.0) == pytest.approx(-whole)
    assert pull(0.5) == pytest.approx(0, abs=1e-12)
    assert pull(0.8) == pytest.approx(0.6 * whole)


def test_away_from_the_old_policy_a_middling_video_pulls_back_to_it() -> None:
    """For beta 1: v+ is the prediction, v- its mirror image; both errors pull by their own sign."""
    aim = target("flow")
    # Nearer to the target than the mirror image, with both on the same side of it.
    old, at = aim + 1.0, aim + 0.5
    assert pull(0.5, old=old, at=at) == pytest.approx(0, abs=1e-12)
    # On the target's other side the prediction is drawn back, and so is the mirror image.
    assert pull(0.5, old=old, at=aim - 0.5) == pytest.approx(-5 * 0.8 * 2)


def test_beta_mixes_the_predictions_with_the_old_ones() -> None:
    """The loss of r = 1 is zero where (1 - beta) old + beta v is the target."""
    old, beta, aim = 0.3, 0.25, target("flow")
    there = torch.tensor((aim - (1 - beta) * old) / beta, dtype=torch.float64)
    old_output = torch.full((1, 1), old, dtype=torch.float64)
    made = point(process_of("flow"), normal(1), normal(1, 1), bias=there)
    r_B = torch.ones(1, dtype=torch.float64)
    assert float(losses_B(made, old_output, r_B, settings(beta=beta))) < 1e-9
    mirrored = point(process_of("flow"), normal(1), normal(1, 1), bias=2 * old - there)
    assert float(losses_B(mirrored, old_output, 1 - r_B, settings(beta=beta))) < 1e-9


def test_the_mean_of_a_gaussian_moves_to_where_the_reward_is() -> None:
    """Clean samples from N(0, 1), the sample itself as reward: the derivative is -2 E|x| = -2 sqrt(2 / pi)."""
    clean_B = normal(200_000)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    made = point(process_of("clean"), clean_B, normal(200_000, 1), bias=bias)
    r_B = goodness_B(clean_B, settings(group_size=200_000, gradient_accumulation=200_000))
    old_output = torch.zeros_like(made.output)
    losses_B(made, old_output, r_B, settings()).mean().backward()  # type: ignore[no-untyped-call]
    assert float(bias.grad or 0) == pytest.approx(-2 * math.sqrt(2 / math.pi), rel=0.01)


def test_goodness_is_about_the_prompts_mean_in_the_steps_deviations() -> None:
    total_B = torch.tensor([1.0, 3.0, 10.0, 10.0])
    deviation = float(total_B.double().std(correction=0))
    r_B = goodness_B(total_B, settings(advantage_clip=2.0))
    assert r_B.tolist() == pytest.approx([0.5 - 0.25 / deviation, 0.5 + 0.25 / deviation, 0.5, 0.5])
    clipped_B = goodness_B(torch.tensor([0.0, 1.0]), settings(advantage_clip=0.5))
    assert clipped_B.tolist() == [0, 1]


def test_the_old_policy_keeps_more_of_itself_as_training_goes_on() -> None:
    method = settings(old_policy_decay=0.5, old_policy_decay_rise=0.001)
    decays = [old_policy_decay(method, updates=updates) for updates in (1, 100, 500, 2000)]
    assert decays == pytest.approx([0.001, 0.1, 0.5, 0.5])


def test_the_old_policy_follows_the_adapter_and_samples() -> None:
    made = nft_learner(old_policy_decay=0.75, old_policy_decay_rise=1.0)
    before = made.state_dict()
    first = made.step(0)
    now, after = made.bench.adapter.state_dict(), made.state_dict()
    for name, old in before.items():
        torch.testing.assert_close(after[name], 0.75 * old + 0.25 * now[name])
    assert first.figures["old_policy_distance"] == pytest.approx(0, abs=1e-9)
    second = made.step(1)
    assert second.figures["old_policy_distance"] > 1e-8
    # What is sampled is the old policy's: not what the adapter alone would give.
    following = nft_learner(old_policy_decay=0.0)
    following.step(0)
    assert not torch.equal(following.step(1).total_B, second.total_B)


def test_sampling_leaves_the_adapter_as_it_is() -> None:
    made = nft_learner(learning_rate=0.0)
    before = weights(made)
    made.load_state_dict({name: 2 * old for name, old in made.state_dict().items()})
    assert made.step(0).figures["old_policy_distance"] > 0
    assert torch.equal(weights(made), before)


def test_the_pull_to_the_base_model_is_the_prediction_penalty() -> None:
    by_kl = nft_learner(kl_weight=2.0, learning_rate=0.0).step(0)
    by_penalty = nft_learner(kl_weight=0.0, prediction_penalty=2.0, learning_rate=0.0).step(0)
    assert by_kl.penalty > 0
    assert by_kl.loss == by_penalty.loss
