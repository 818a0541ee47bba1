from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vader_core.methods.benches import CONSTANT, learner, weights
from tests.vader_core.methods.resuming import ends_of
from tests.vader_core.tiny_models import NAMES
from vader_core import rollout
from vader_core.errors import SpecUnusable
from vader_core.methods.advantages import group_advantages
from vader_core.methods.collecting import Collected, collect
from vader_core.methods.grpo import GrpoLearner


def grpo(name: str = "tiny-wan", rewards: Any = None, **method: Any) -> GrpoLearner:
    """Four videos a step, in two groups."""
    made = learner(
        base_model=name,
        method={
            "type": "grpo",
            "batch_size": 2,
            "gradient_accumulation": 2,
            "group_size": 2,
            "learning_rate": 0.0,
            **method,
        },
        video={"inference_steps": 3, "guidance_scale": 2.0},
        rewards=rewards or [{"reward": "tiny-action"}],
    )
    assert isinstance(made, GrpoLearner)
    return made


def collected_by(made: GrpoLearner) -> Collected:
    return collect(made.bench, made.spec, step=0, sampler=made.sampler)


def test_a_resumed_run_ends_as_the_run_left_alone(tmp_path: Path) -> None:
    job = {
        "base_model": "tiny-wan",
        "method": {
            "type": "grpo",
            "batch_size": 2,
            "gradient_accumulation": 1,
            "group_size": 2,
            "train_steps": 1,
            "updates_per_step": 2,
        },
        "video": {"inference_steps": 3},
    }
    alone = ends_of(tmp_path / "alone", interrupted_after=None, **job)
    assert ends_of(tmp_path / "resumed", interrupted_after=2, **job) == alone


@pytest.mark.parametrize("normalised", [True, False])
def test_advantages_are_those_of_the_groups(normalised: bool) -> None:
    made = grpo(normalise_by_deviation=normalised)
    collected = collected_by(made)
    advantage_B = made.advantages(collected)
    expected_B = group_advantages(collected.total_B, group_size=2, normalised=normalised)
    assert torch.equal(advantage_B, expected_B)
    assert torch.equal(advantage_B.reshape(2, 2).sum(1), torch.zeros(2).double())
    assert [one.prompt for one in collected.prompts[::2]] == [
        one.prompt for one in collected.prompts[1::2]
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_divergence_is_between_the_transitions_of_adapter_and_base(name: str) -> None:
    made = grpo(name, kl_weight=0.3)
    figures = made.step(0).figures
    kls = []
    for part in collected_by(made).parts:
        steps = made.sampler.noisy_steps(part.trajectory.process)
        inputs = {step: part.trajectory.samples[step] for step in steps}
        means = [transitions(made, part.batch, inputs)]
        with made.bench.adapter.disabled():
            means.append(transitions(made, part.batch, inputs))
        for step in steps:
            (ours, std), (theirs, _) = (one[step] for one in means)
            kls.append(((ours - theirs) ** 2 / (2 * std**2)).mean())
    assert figures["kl"] == pytest.approx(float(torch.stack(kls).mean()), rel=1e-4)
    assert figures["kl"] > 0


def transitions(
    made: GrpoLearner, batch: rollout.Batch, inputs: dict[int, torch.Tensor]
) -> dict[int, tuple[torch.Tensor, float]]:
    """Mean and deviation of what follows each input."""
    found = {}

    def look(visit: rollout.Visit) -> None:
        after = made.sampler.transition(visit.process, visit.index, visit.output, visit.sample)
        found[visit.index] = (after.mean, after.std)

    rollout.visit(
        batch,
        inputs=inputs,
        on_output=look,
        method=made.spec.method,
        gradient=False,
        conditional_only=False,
    )
    return found


def test_the_divergence_draws_the_adapter_back_to_the_base() -> None:
    made = grpo(rewards=CONSTANT, kl_weight=1.0, learning_rate=5e-3)
    kls = [made.step(number).figures["kl"] for number in range(4)]
    assert kls[-1] < 0.7 * kls[0]


@pytest.mark.parametrize("guidance_gradient", ["conditional", "both"])
@pytest.mark.parametrize("name", NAMES)
def test_of_a_constant_reward_nothing_is_learnt(name: str, guidance_gradient: str) -> None:
    """A fresh adapter is the base model: not even a rounding error lies between the two."""
    made = grpo(
        name, CONSTANT, kl_weight=1.0, learning_rate=1e-2, guidance_gradient=guidance_gradient
    )
    made.bench.adapter.load_state_dict(
        {
            key: torch.zeros_like(one) if ".lora_B." in key else one
            for key, one in made.bench.adapter.state_dict().items()
        }
    )
    before = weights(made)
    result = made.step(0)
    assert result.figures["kl"] == result.grad_norm == 0
    assert torch.equal(weights(made), before)


def test_flow_models_can_be_sampled_in_both_ways_and_others_in_one() -> None:
    for name, alike in (("tiny-wan", False), ("tiny-unet", True)):
        ends = [
            collected_by(grpo(name, flow_sampler=flow)).parts[0].trajectory.latents_BCfHW
            for flow in ("sde", "ddim")
        ]
        assert torch.equal(*ends) == alike


def test_a_noise_level_that_a_model_cannot_take_is_refused() -> None:
    assert grpo("tiny-wan", noise_level=1.2).step(0).grad_norm > 0
    with pytest.raises(SpecUnusable, match="noise_level of at most 1"):
        grpo("tiny-unet", noise_level=1.2).step(0)
    with pytest.raises(SpecUnusable, match="noise_level of at most 1"):
        grpo("tiny-unet", noise_level=1.2).check()
