from __future__ import annotations

import pytest

from tests import factories
from vader_core.plan import Done, plan, work_of_a_video
from vader_core.spec import JobSpec, Prompt

PROMPTS = [Prompt.model_validate(prompt) for prompt in factories.PROMPTS]


def spec(**changes: object) -> JobSpec:
    return factories.spec(
        **{
            "budget": {"max_steps": 20},
            "method": {"batch_size": 2, "gradient_accumulation": 3},
            "guards": [{"reward": "diversity"}],
            "evaluation": {"seeds": [1, 2, 3]},
            **changes,
        }
    )


def test_queries_count_videos_times_rewards() -> None:
    found = plan(spec(), PROMPTS)
    assert (found.steps, found.videos_per_step, found.training_queries) == (20, 6, 120)
    # Two held-out prompts with three seeds, scored by a reward and a guard, before and after.
    assert (found.heldout_prompts, found.pairs, found.evaluations) == (2, 6, 2)
    assert found.evaluation_queries == 2 * 6 * 2


def test_the_evaluation_of_the_last_step_is_the_final_one() -> None:
    for every, evaluations in ((5, 3 + 2), (20, 2), (7, 2 + 2), (30, 2)):
        found = plan(spec(evaluation={"every_steps": every}), PROMPTS)
        assert found.evaluations == evaluations, every


def test_queries_that_are_not_paid_for_end_the_steps() -> None:
    budget = {"max_steps": 20, "max_reward_queries": 65}
    found = plan(spec(budget=budget), PROMPTS)
    assert (found.steps, found.ends_by) == (10, "max_reward_queries")
    assert found.training_queries == 60
    enough = plan(spec(budget={"max_steps": 20, "max_reward_queries": 120}), PROMPTS)
    assert (enough.steps, enough.ends_by) == (20, "max_steps")


def test_no_more_prompts_are_compared_than_asked_for() -> None:
    found = plan(spec(evaluation={"num_prompts": 1, "seeds": [1, 2]}), PROMPTS)
    assert (found.heldout_prompts, found.pairs) == (1, 2)


def test_a_run_that_goes_on_has_less_to_do() -> None:
    asked = spec(budget={"max_steps": 20, "max_reward_queries": 200}, evaluation={"every_steps": 5})
    found = plan(asked, PROMPTS, done=Done(steps=10, reward_queries=160))
    assert (found.steps, found.ends_by) == (6, "max_reward_queries")
    # After step 15, and at the end; the base model was scored before.
    assert found.evaluations == 2


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({"video": {"inference_steps": 8}}, 2.0),
        ({"method": {"type": "grpo", "sampling_steps": 2}}, 0.5),
    ],
)
def test_work_is_pixels_times_the_steps_of_a_training_rollout(
    changes: dict[str, object], factor: float
) -> None:
    usual = work_of_a_video(factories.spec(video={"inference_steps": 4}))
    changed = {"video": {"inference_steps": 4}, **changes}
    assert work_of_a_video(factories.spec(**changed)) == factor * usual
