"""Settings that do not fit each other: every one is named, with its pointer and what would be legal."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from tests.vader_core.test_resolve import faults, resolved
from tests.vader_core.test_spec import a_spec
from vader_core.catalogue import BUILT_IN
from vader_core.faults import Fault
from vader_core.resolve import check

TEXT_MATCH = [{"reward": "tiny-text-match"}]


def found(**method: Any) -> dict[str, Fault]:
    return faults(a_spec(method=method, rewards=TEXT_MATCH, video={"inference_steps": 5}))


@pytest.mark.parametrize(
    ("method", "pointer", "code", "nearest"),
    [
        ({"type": "grpo", "group_size": 7}, "group_size", "group_not_whole", [8, 4]),
        ({"type": "dpo", "gradient_accumulation": 1}, "group_size", "group_not_whole", []),
        # Nobody has so many videos, but anybody may ask.
        (
            {"type": "grpo", "batch_size": 2**60, "gradient_accumulation": 1, "group_size": 7},
            "group_size",
            "group_not_whole",
            [8, 4],
        ),
        (
            {"type": "ddpo", "statistics_window": 8, "statistics_min": 9},
            "statistics_min",
            "not_in_set",
            [8],
        ),
        (
            {"type": "grpo", "flow_sampler": "ddim", "noise_level": 1.5},
            "noise_level",
            "not_in_set",
            [1],
        ),
        ({"given_steps": [1]}, "given_steps", "setting_not_used", []),
        ({"step_choice": "given"}, "given_steps", "missing_setting", []),
        ({"step_choice": "given", "given_steps": [2, 1, 2]}, "given_steps/2", "step_twice", []),
        (
            {"step_choice": "even", "step_range": [0.8, 0.2]},
            "step_range",
            "not_in_set",
            [[0.2, 0.8]],
        ),
        ({"step_choice": "even", "step_range": [0.5, 0.5]}, "step_range", "not_in_set", []),
        ({"path": "leap"}, "step_choice", "not_in_set", ["random", "given"]),
        (
            {"path": "leap", "step_choice": "random", "differentiable_steps": 2},
            "differentiable_steps",
            "not_in_set",
            [1],
        ),
        (
            {"path": "direct_align", "step_choice": "given", "given_steps": [3, 1]},
            "given_steps",
            "not_in_set",
            [[3]],
        ),
        (
            {"path": "last_step_redraws", "step_choice": "even"},
            "step_choice",
            "not_in_set",
            ["last"],
        ),
        (
            {"path": "last_step_redraws", "differentiable_steps": 2},
            "differentiable_steps",
            "not_in_set",
            [1],
        ),
        (
            {"step_choice": "given", "given_steps": [1], "differentiable_steps": 2},
            "differentiable_steps",
            "setting_not_used",
            [],
        ),
        ({"step_range": [0.5, 1.0]}, "step_range", "setting_not_used", []),
        ({"noise_draws": 4}, "noise_draws", "setting_not_used", []),
        (
            {"path": "leap", "step_choice": "random", "detach_input": True},
            "detach_input",
            "setting_not_used",
            [],
        ),
        (
            {"relative_prompt": {"wanted": "sharp", "unwanted": "sharp"}},
            "relative_prompt/unwanted",
            "same_words",
            [],
        ),
    ],
)
def test_settings_that_do_not_fit_are_told_one_by_one(
    method: dict[str, Any], pointer: str, code: str, nearest: list[JsonValue]
) -> None:
    told = found(**method)
    assert list(told) == [f"/method/{pointer}"]
    fault = told[f"/method/{pointer}"]
    assert (fault.code, fault.nearest) == (code, nearest)


def test_a_value_that_nobody_wrote_is_called_the_default() -> None:
    assert (
        "got 4 (the default)"
        in found(type="dpo", gradient_accumulation=6)["/method/group_size"].detail
    )
    written = found(type="dpo", gradient_accumulation=6, group_size=5)["/method/group_size"]
    assert "default" not in written.detail


def test_faults_of_a_method_hide_neither_each_other_nor_those_beside_it() -> None:
    asked = a_spec(
        base_model="tiny-unett",
        method={"path": "leap", "noise_draws": 3, "learning_rate": -1},
        rewards=[{"reward": "nothing", "aim": 1, "cap": 2}],
    )
    assert set(faults(asked)) == {
        *("/base_model", "/rewards/0/reward", "/rewards/0/cap"),
        *("/method/step_choice", "/method/noise_draws", "/method/learning_rate"),
    }


@pytest.mark.parametrize("bound", ["aim", "cap"])
def test_a_difference_of_scores_has_no_bound(bound: str) -> None:
    method = {"relative_prompt": {"wanted": "real", "unwanted": "flat"}}
    told = faults(a_spec(method=method, rewards=[{"reward": "tiny-text-match", bound: 0.5}]))
    assert told[f"/rewards/0/{bound}"].code == "bound_of_difference"


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ({}, 8),
        ({"path": "last_step_redraws", "noise_draws": 3}, 24),
        ({"type": "grpo"}, 16),
        ({"relative_prompt": {"wanted": "real", "unwanted": "flat"}}, 16),
    ],
)
def test_a_budget_pays_for_one_step(method: dict[str, Any], needed: int) -> None:
    def budget(queries: int) -> dict[str, Any]:
        limits = {"max_steps": 4, "max_reward_queries": queries}
        return {"method": method, "rewards": TEXT_MATCH, "budget": limits}

    fault = faults(a_spec(**budget(needed - 1)))["/budget/max_reward_queries"]
    assert (fault.code, fault.nearest) == ("budget_below_one_step", [needed])
    assert resolved(**budget(needed)).budget.max_reward_queries == needed


def test_a_fault_says_nothing_where_what_it_rests_on_is_faulty() -> None:
    asked = a_spec(
        method={"type": "grpo", "train_steps": 90},
        video={"inference_steps": "many"},
        budget={"max_steps": 1, "max_reward_queries": 1},
        rewards=[{"reward": "tiny-text-match", "weight": -1}],
    )
    assert set(faults(asked)) == {"/video/inference_steps", "/rewards/0/weight"}


@pytest.mark.parametrize(
    "method",
    [
        {"path": "last_step_redraws"},
        {"step_choice": "given", "given_steps": [1, 4]},
        {"step_choice": "even", "step_range": [0.0, 0.6], "detach_input": True},
        {"type": "grpo", "flow_sampler": "sde", "noise_level": 1.5},
    ],
)
def test_a_resolved_spec_that_says_everything_stays_valid(method: dict[str, Any]) -> None:
    spec = resolved(method=method, rewards=TEXT_MATCH, video={"inference_steps": 5})
    assert check(spec.model_dump(mode="json"), BUILT_IN, lambda _: None) == spec
