"""Methods in specs: pointers of their faults, and what fits which video and reward."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from tests.vader_core.test_resolve import faults, faults_with, resolved, with_row
from tests.vader_core.test_spec import a_spec
from vader_core.catalogue import BUILT_IN, Variant
from vader_core.method_spec import GRADIENT_FREE, SETTINGS, Grpo
from vader_core.resolve import check

TEXT_MATCH = [{"reward": "tiny-text-match"}]


def method_faults(**method: Any) -> dict[str, Any]:
    """Of a method beside `TEXT_MATCH` and 5 inference steps."""
    return faults(a_spec(method=method, rewards=TEXT_MATCH, video={"inference_steps": 5}))


@pytest.mark.parametrize("name", SETTINGS)
def test_pointers_are_those_of_the_document(name: str) -> None:
    found = method_faults(type=name, batch_size=0, learning_rate="fast", colour=1)
    assert set(found) == {"/method/batch_size", "/method/learning_rate", "/method/colour"}
    assert found["/method/colour"].code == "unknown_field"


def test_pointers_lead_into_parts_of_a_method() -> None:
    found = method_faults(frames={"mode": "some"}, given_steps=[1, -1], relative_prompt={})
    assert set(found) == {
        "/method/frames/mode",
        "/method/given_steps/1",
        "/method/relative_prompt/wanted",
        "/method/relative_prompt/unwanted",
    }


def test_a_union_that_is_no_method_is_pointed_at_as_it_stands() -> None:
    wrong: list[JsonValue] = [{"reward": "tiny-text-match", "scale": -1}]
    assert set(faults(a_spec(rewards=wrong))) == {"/rewards/0/scale"}


@pytest.mark.parametrize(
    ("named", "nearest"),
    [("gpro", ["grpo"]), ("reward-gradient", ["reward_gradient"]), (5, []), (None, []), ([], [])],
)
def test_an_unknown_method_names_all_and_the_nearest(named: JsonValue, nearest: list[str]) -> None:
    fault = method_faults(type=named)["/method/type"]
    assert fault.code == "unknown_method"
    assert all(name in fault.detail for name in SETTINGS)
    assert fault.nearest[: len(nearest)] == nearest


@pytest.mark.parametrize("method", [None, [], "grpo", 3])
def test_a_method_that_is_no_object_is_told_how_to_write_it(method: JsonValue) -> None:
    found = faults(a_spec(method=method))
    assert set(found) == {"/method"}
    name = "grpo" if method == "grpo" else "reward_gradient"
    assert f'write {{"type": "{name}"}}' in found["/method"].detail


def test_a_setting_of_other_methods_names_them() -> None:
    detail = method_faults(type="dpo", noise_level=1.0)["/method/noise_level"].detail
    assert detail == "dpo has no such setting; it belongs to ddpo, grpo."
    detail = method_faults(differentiable_step=1)["/method/differentiable_step"].detail
    assert "Did you mean 'differentiable_steps'?" in detail
    assert "reward_gradient has no" in method_faults(group_size=4)["/method/group_size"].detail


def test_a_faulty_method_hides_no_fault_and_makes_up_none() -> None:
    found = faults(
        a_spec(method={"type": "gpro"}, rewards=[{"reward": "jpeg-size"}], video={"num_frames": 99})
    )
    assert set(found) == {"/method/type", "/video/num_frames"}
    found = faults(
        a_spec(method={"type": "nft", "beta": 0, "colour": 1}, rewards=[{"reward": "jpeg-size"}])
    )
    assert set(found) == {"/method/beta", "/method/colour"}
    found = faults(a_spec(method={"batch_size": 0}, rewards=[{"reward": "jpeg-size"}]))
    assert set(found) == {"/method/batch_size", "/rewards/0/reward"}
    found = method_faults(type="grpo", kl_weight=-1, group_size=7, train_steps=9)
    assert set(found) == {"/method/kl_weight", "/method/group_size", "/method/train_steps"}
    assert set(method_faults(type="grpo", batch_size=0, group_size=7)) == {"/method/batch_size"}


def test_a_reward_without_a_gradient_names_the_methods_that_fit() -> None:
    fault = faults(a_spec(rewards=[{"reward": "jpeg-size"}]))["/rewards/0/reward"]
    assert fault.code == "not_differentiable"
    assert "ddpo, grpo, nft, dpo, sft_best" in fault.detail
    for name in GRADIENT_FREE:
        spec = resolved(rewards=[{"reward": "jpeg-size"}], method={"type": name})
        assert (spec.method.type, spec.rewards[0].reward) == (name, "jpeg-size@1")


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("reward", ["diversity", "reference-distance"])
def test_what_only_evaluations_can_score_is_no_reward(reward: str, name: str) -> None:
    found = faults(a_spec(rewards=[{"reward": reward}], method={"type": name}))
    assert found["/rewards/0/reward"].code == "guard_only"


@pytest.mark.parametrize(
    ("method", "pointer", "nearest"),
    [
        ({"differentiable_steps": 6}, "/method/differentiable_steps", [5]),
        (
            {"differentiable_steps": 3, "step_choice": "random", "step_range": [0.0, 0.4]},
            "/method/differentiable_steps",
            [2],
        ),
        ({"step_choice": "even", "step_range": [0.0, 0.05]}, "/method/step_range", [[0.0, 0.2]]),
        ({"step_choice": "even", "step_range": [0.99, 1.0]}, "/method/step_range", [[0.8, 1.0]]),
        ({"step_choice": "given", "given_steps": [0, 5]}, "/method/given_steps/1", [4]),
        ({"frames": {"mode": "index", "index": 8}}, "/method/frames/index", [7]),
        ({"frames": {"mode": "random", "n": 9}}, "/method/frames/n", [8]),
        ({"type": "nft", "sampling_steps": 6}, "/method/sampling_steps", [5]),
        ({"type": "dpo", "train_steps": 6}, "/method/train_steps", [5]),
        ({"type": "grpo", "train_steps": 5}, "/method/train_steps", [4]),
        ({"type": "ddpo", "sampling_steps": 3, "train_steps": 4}, "/method/train_steps", [2]),
        ({"type": "grpo", "sampling_steps": 1}, "/method/sampling_steps", [2]),
    ],
)
def test_steps_and_frames_lie_within_the_video(
    method: dict[str, Any], pointer: str, nearest: list[JsonValue]
) -> None:
    found = method_faults(**method)
    assert list(found) == [pointer]
    assert found[pointer].nearest == nearest


def test_wrong_sampling_steps_hide_no_wrong_train_steps() -> None:
    found = method_faults(type="grpo", sampling_steps=7, train_steps=9)
    assert found["/method/sampling_steps"].nearest == [5]
    assert found["/method/train_steps"].nearest == [4]


@pytest.mark.parametrize(
    "method",
    [
        {"differentiable_steps": 5},
        {"differentiable_steps": 2, "step_choice": "random", "step_range": [0.0, 0.4]},
        {"step_choice": "given", "given_steps": [0, 4]},
        {"path": "last_step_redraws", "noise_draws": 4},
        {"path": "leap", "step_choice": "random"},
        {"type": "grpo", "sampling_steps": 3, "train_steps": 2},
        {"type": "nft", "sampling_steps": 3, "train_steps": 3},
    ],
)
def test_settings_that_fit_are_kept(method: dict[str, Any]) -> None:
    spec = resolved(method=method, rewards=TEXT_MATCH, video={"inference_steps": 5})
    assert check(spec.model_dump(mode="json"), BUILT_IN, lambda _: None) == spec
    assert (
        method.items() <= {"type": "reward_gradient", **spec.method.model_dump(mode="json")}.items()
    )


def test_training_rollouts_of_a_distilled_model_have_its_steps() -> None:
    fast = Variant(title="4 steps", licence="none", inference_steps=4, guidance_scale=1.0)
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"variants": {"fast": fast}})
    method = {"type": "nft", "sampling_steps": 2}
    found = faults_with(row, a_spec(variant="fast", method=method))
    assert found["/method/sampling_steps"].nearest == [4]
    kept = check(a_spec(variant="fast", method={"type": "nft"}), with_row(row), lambda _: None)
    assert kept.video.inference_steps == 4


def test_training_rollouts_are_no_shorter_than_the_sampler_can() -> None:
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"min_steps": 3})
    found = faults_with(row, a_spec(method={"type": "dpo", "sampling_steps": 2}))
    assert found["/method/sampling_steps"].nearest == [3]


@pytest.mark.parametrize("name", ["ddpo", "grpo"])
def test_policies_need_a_step_before_the_last(name: str) -> None:
    asked = a_spec(method={"type": name}, rewards=TEXT_MATCH, video={"inference_steps": 1})
    assert faults(asked)["/video/inference_steps"].nearest == [2]


def test_gradient_free_methods_score_all_frames() -> None:
    """Movement rewards have what they need; `frames` is a setting of reward_gradient alone."""
    assert isinstance(resolved(method={"type": "grpo"}).method, Grpo)
    assert "/method/frames" in method_faults(type="grpo", frames={"mode": "all"})
    still = faults(a_spec(method={"type": "grpo"}, video={"num_frames": 1}))
    assert still["/video/num_frames"].code == "too_few_frames"


def test_three_frames_are_too_few_for_a_reward_of_four() -> None:
    found = faults(
        a_spec(
            rewards=[{"reward": "tiny-temporal-consistency"}],
            method={"frames": {"mode": "first_middle_last"}},
        )
    )
    assert "this gives 3" in found["/method/frames"].detail


def test_frames_are_weighed_only_for_rewards_that_score_frames() -> None:
    frames = {"frames": {"centre_decay": 0.5}}
    fault = faults(a_spec(method=frames))["/method/frames/centre_decay"]
    assert fault.code == "not_per_frame"
    assert "tiny-action" in fault.detail
    assert resolved(method=frames, rewards=TEXT_MATCH).rewards[0].reward == "tiny-text-match@1"


@pytest.mark.parametrize("reward", ["tiny-action", "tiny-hazy", "motion", "sharpness"])
def test_a_relative_prompt_needs_rewards_that_look_at_it(reward: str) -> None:
    method = {"relative_prompt": {"wanted": "sharp", "unwanted": "blurred"}}
    found = faults(a_spec(method=method, rewards=[*TEXT_MATCH, {"reward": reward}]))
    fault = found["/method/relative_prompt"]
    assert fault.code == "prompt_not_read"
    assert reward in fault.detail
    assert "tiny-text-match" not in fault.detail
    assert resolved(method=method, rewards=TEXT_MATCH).rewards[0].reward == "tiny-text-match@1"


def test_what_needs_single_steps_is_refused_where_they_do_not_stand_alone() -> None:
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"revisitable": False})

    def found(**method: Any) -> dict[str, Any]:
        return faults_with(row, a_spec(method=method, rewards=TEXT_MATCH))

    assert found(type="nft")["/method/type"].code == "method_not_possible"
    direct = found(path="direct_align", step_choice="random", base_sample_weight=1)
    assert set(direct) == {"/method/path", "/method/base_sample_weight"}
    assert "leap" in direct["/method/path"].detail
    leap = a_spec(method={"path": "leap", "step_choice": "random"}, rewards=TEXT_MATCH)
    assert check(leap, with_row(row), lambda _name: None)
