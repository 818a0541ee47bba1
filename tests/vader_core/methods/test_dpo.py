from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.vader_core.methods.benches import gradient, learner, weights
from tests.vader_core.methods.points import normal, point, process_of
from tests.vader_core.tiny_models import NAMES
from vader_core.methods.collecting import collect
from vader_core.methods.dpo import DpoLearner, Pair, pair_of, preference_loss, pull
from vader_core.methods.noising import Noised, Point
from vader_core.methods.regression import ranked_groups

STEPS = 3


def dpo_learner(name: str = "tiny-wan", **method: Any) -> DpoLearner:
    """One group of four videos a step; without limit on the gradient's norm."""
    made = learner(
        base_model=name,
        method={
            "type": "dpo",
            "batch_size": 4,
            "gradient_accumulation": 1,
            "group_size": 4,
            "learning_rate": 1e-4,
            "max_grad_norm": 1e9,
            "beta": 1.0,
            **method,
        },
        video={"inference_steps": STEPS, "guidance_scale": 3.0},
    )
    assert isinstance(made, DpoLearner)
    return made


def pair_of_step(made: DpoLearner, step: int = 0) -> Pair:
    with made.bench.adapter.disabled():
        collected = collect(made.bench, made.spec, step=step, end_only=True)
    (group,) = ranked_groups(collected, size=4)
    return pair_of(group)


def noised(made: DpoLearner, pair: Pair) -> Noised:
    """Winner and loser in one batch."""
    return Noised(made.bench, made.spec, pair, step=0, steps=range(STEPS))


def test_where_nothing_is_learnt_yet_the_loss_is_log_2() -> None:
    margin = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    loss = preference_loss(margin, beta=20.0)
    assert loss.tolist() == pytest.approx([math.log(2)] * 3)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert margin.grad is not None
    assert margin.grad.tolist() == [20 / 4] * 3


def test_the_pull_is_the_losss_derivative() -> None:
    margin = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    preference_loss(margin, beta=7.0).sum().backward()  # type: ignore[no-untyped-call]
    assert margin.grad is not None
    torch.testing.assert_close(pull(margin.detach(), beta=7.0), margin.grad)


def test_the_gradient_of_a_toy_pair_is_known() -> None:
    """With the adapter at the base model: beta / 4 * 2 (error of the winner - error of the loser)."""
    beta, process = 4.0, process_of("flow")
    clean_B = torch.tensor([1.0, -2.0], dtype=torch.float64)
    noise_B = normal(1).expand(2)
    reference_B = point(process, clean_B, noise_B, bias=0.1).errors_B()
    bias = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    errors_B = point(process, clean_B, noise_B, bias=bias).errors_B()
    margin = (errors_B[0] - reference_B[0]) - (errors_B[1] - reference_B[1])
    preference_loss(margin, beta=beta).backward()  # type: ignore[no-untyped-call]
    # A flow's error is bias - (noise - clean): the noise, which is the same, and the bias cancel.
    assert bias.grad is not None
    assert float(bias.grad) == pytest.approx(beta / 4 * 2 * (1.0 - -2.0))


@pytest.mark.parametrize("name", NAMES)
def test_pulling_each_video_by_itself_is_the_gradient_of_the_pairs_loss(name: str) -> None:
    made = dpo_learner(name, learning_rate=0.0, beta=30.0)
    looked_at = noised(made, pair_of_step(made))
    with made.bench.adapter.disabled():
        reference_KB = looked_at.errors_KB()
    made.bench.optimiser.forget_gradients()

    def loss(point: Point) -> torch.Tensor:
        gain_B = point.errors_B() - reference_KB[point.index]
        return preference_loss(gain_B[0] - gain_B[1], beta=30.0)

    direct = looked_at.learn(loss, of=1)
    expected = gradient(made).clone()
    result = made.step(0)
    assert result.loss == pytest.approx(direct.loss, rel=1e-4)
    torch.testing.assert_close(gradient(made), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_update_prefers_the_winner_a_little_more(name: str) -> None:
    made = dpo_learner(name)
    looked_at = noised(made, pair_of_step(made))
    before_KB = looked_at.errors_KB()
    made.step(0)
    after_KB = looked_at.errors_KB()
    changed_B = (after_KB - before_KB).mean(0)
    assert float(changed_B[0]) < float(changed_B[1])


def test_winner_and_loser_are_the_groups_extremes_and_share_their_noise() -> None:
    made = dpo_learner()
    with made.bench.adapter.disabled():
        collected = collect(made.bench, made.spec, step=0, end_only=True)
    (group,) = ranked_groups(collected, size=4)
    winner, loser = pair_of(group)
    best, worst = int(collected.total_B.argmax()), int(collected.total_B.argmin())
    assert torch.equal(winner.clean, group.videos[best].clean)
    assert torch.equal(loser.clean, group.videos[worst].clean)
    noises: list[torch.Tensor] = []

    def keep(point: Point) -> torch.Tensor:
        noises.append(point.noise)
        return point.errors_B()

    noised(made, (winner, loser)).learn(keep, of=2)
    # At step 0 it is the denoiser's input that they share.
    for noise in noises[1:]:
        assert torch.equal(noise[0], noise[1])


def test_figures_say_how_often_the_winner_is_preferred() -> None:
    fresh = dpo_learner(learning_rate=0.0)
    for name, parameter in fresh.bench.adapter.parameters():
        if ".lora_B." in name:
            parameter.data.zero_()
    result = fresh.step(0)
    assert result.loss == pytest.approx(math.log(2))
    assert result.figures["margin"] == 0
    assert result.figures["implicit_accuracy"] == 0.5
    stirred = dpo_learner(learning_rate=0.0).step(0)
    assert stirred.figures["margin"] != 0
    assert stirred.figures["implicit_accuracy"] in {0, 1 / 3, 2 / 3, 1}


def test_pairs_come_from_the_base_model_or_from_the_adapter() -> None:
    from_base, online = dpo_learner(), dpo_learner(pairs_from="current")
    before = weights(online)
    sampled = from_base.step(0).total_B, online.step(0).total_B
    assert not torch.equal(*sampled)
    with online.bench.adapter.disabled():
        expected = collect(online.bench, online.spec, step=0, end_only=True).total_B
    assert torch.equal(sampled[0], expected)
    assert not torch.equal(weights(online), before)
