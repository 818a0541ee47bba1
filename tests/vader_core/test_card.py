"""What card and lineage say of the method that trained an adapter."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.vader_core.test_resolve import resolved
from vader_core.card import Story, card, curve_points, lineage
from vader_core.catalogue import BUILT_IN
from vader_core.ceilings import utc_now
from vader_core.lines import EvaluationDone, RewardDifference
from vader_core.method_spec import SETTINGS
from vader_core.snippet import Loading
from vader_core.spec import JobSpec
from vader_core.state import TrainState


def story(**method: Any) -> Story:
    """Of a cancelled run of a job with this method."""
    spec = resolved(method=method, rewards=[{"reward": "tiny-text-match"}])
    folders = {"unet": "."}
    return Story(
        spec=spec,
        steps_asked=spec.budget.max_steps,
        base_model=BUILT_IN.base_models["tiny-unet"],
        loading=Loading(
            module="diffusers", folders=folders, in_diffusers=False, takes_prompt=True, arguments={}
        ),
        progress=TrainState(training_hash="", continuation_hash="", versions={}),
        metrics=[],
        final=None,
        stop_reason="cancelled",
        gpu_seconds=1.0,
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_lineage_has_the_whole_method_so_that_it_can_be_asked_for_again(name: str) -> None:
    told = story(type=name)
    method = lineage(told)["method"]
    again = JobSpec.model_validate({**told.spec.model_dump(), "method": method})
    assert again == told.spec


@pytest.mark.parametrize(
    ("name", "tag", "title"),
    [
        ("reward_gradient", "reward-gradient", "VADER's reward gradient (arXiv 2407.08737)"),
        ("grpo", "grpo", "Flow-GRPO (arXiv 2505.05470)"),
        ("sft_best", "sft-best", "best-of-n fine-tuning (arXiv 2304.06767)"),
    ],
)
def test_the_card_names_the_method(name: str, tag: str, title: str) -> None:
    text = card(story(type=name))
    assert f"tags: [lora, text-to-video, {tag}]" in text
    assert f"trained to raise tiny-text-match@1 by {title}." in text
    assert f"| method | `{name}`: " in text


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"differentiable_steps": 3}, "the last 3"),
        (
            {"differentiable_steps": 2, "step_choice": "random_last"},
            "the last 1 to 2, drawn anew at every training step",
        ),
        ({"step_choice": "given", "given_steps": [0, 4]}, "0, 4, counted from 0"),
    ],
)
def test_the_card_tells_which_steps_had_a_gradient(method: dict[str, Any], told: str) -> None:
    assert f"| differentiable steps | {told} |" in card(story(**method))


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"type": "reward_gradient"}, 'path "sampler"'),
        (
            {"type": "ddpo", "clip_range": 0.001},
            "noise_level 1.0, clip_range 0.001, advantage_clip 5.0, statistics_window 32, "
            "statistics_min 16, updates_per_step 1",
        ),
        (
            {"type": "grpo", "kl_weight": 0.5, "sampling_steps": 5},
            'sampling_steps 5, noise_level 0.7, flow_sampler "sde", clip_range 0.0001, '
            "advantage_clip 5.0, kl_weight 0.5, normalise_by_deviation true, updates_per_step 1",
        ),
        (
            {"type": "nft"},
            "beta 1.0, advantage_clip 5.0, old_policy_decay 0.5, old_policy_decay_rise 0.001, "
            "kl_weight 0.0001",
        ),
        ({"type": "dpo"}, 'beta 2000.0, pairs_from "base"'),
        ({"type": "sft_best"}, 'weighting "best", temperature 1.0, videos_from "current"'),
    ],
)
def test_the_card_tells_a_methods_own_settings_at_any_value(
    method: dict[str, Any], told: str
) -> None:
    assert f"| settings of the method | `{told}` |" in card(story(**method))


def test_the_card_tells_shared_settings_that_are_not_at_their_defaults() -> None:
    text = card(story(type="grpo", group_size=4, prediction_penalty=0.5, train_steps=2))
    assert "| videos of a prompt together | 4 |" in text
    assert "| denoising steps learnt from | 2, drawn anew for every micro-batch |" in text
    assert "| other settings | `prediction_penalty 0.5` |" in text
    plain = card(story(type="grpo", learning_rate=1e-3))
    assert "other settings" not in plain
    assert "| denoising steps learnt from | all |" in plain
    decayed = card(story(frames={"centre_decay": 2.0}, detach_input=True))
    assert '`detach_input true, frames {"centre_decay": 2.0}`' in decayed


def test_the_card_names_the_bounds_of_a_reward() -> None:
    told = story()
    term = told.spec.rewards[0].model_copy(update={"cap": 0.25})
    capped = dataclasses.replace(told, spec=told.spec.model_copy(update={"rewards": [term]}))
    assert "`tiny-text-match@1` (weight 1, cap 0.25)" in card(capped)


def evaluation(step: int, reward: float, adapter_step: int | None = None) -> EvaluationDone:
    found = RewardDifference(base=0.1, adapter=reward, delta=reward - 0.1, delta_ci95=(0.1, 0.5))
    return EvaluationDone(
        at=utc_now(),
        step=step,
        kind="periodic" if adapter_step is None else "final",
        pairs=4,
        heldout_reward=reward,
        baseline_heldout_reward=0.1,
        difference=found,
        per_reward={},
        guards=[],
        verdict="improved",
        adapter_step=adapter_step,
        evaluation_queries=8,
        seconds=1.0,
    )


def test_a_restored_adapter_is_shown_at_its_own_step() -> None:
    metrics = [evaluation(4, 0.3), evaluation(8, 0.2), evaluation(8, 0.3, adapter_step=4)]
    progress = TrainState(
        training_hash="", continuation_hash="", versions={}, step=8, restored_step=4, chosen_among=2
    )
    told = dataclasses.replace(
        story(), metrics=metrics, final=metrics[-1], progress=progress, stop_reason="early_stop"
    )
    assert curve_points(metrics)[1] == [(4, 0.3), (8, 0.2), (4, 0.3)]
    assert lineage(told)["adapter_step"] == 4
    assert "the adapter is that of step 4, the last good evaluation" in card(told)
    assert "The adapter is the best of 2 by a reward on these same pairs" in card(told)
