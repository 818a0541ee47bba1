from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from tests.vader_core.test_spec import a_spec
from vader_core.catalogue import (
    BUILT_IN,
    BaseModelRow,
    Catalogue,
    RewardRow,
    Variant,
    Weights,
)
from vader_core.faults import Fault, InvalidSpec
from vader_core.method_spec import RewardGradient
from vader_core.resolve import check
from vader_core.spec import Guard, JobSpec, Prompt


def no_stored_sets(_: str) -> list[Prompt] | None:
    return None


def resolved(**changes: Any) -> JobSpec:
    return check(a_spec(**changes), BUILT_IN, no_stored_sets)


def faults(document: JsonValue) -> dict[str, Fault]:
    with pytest.raises(InvalidSpec) as caught:
        check(document, BUILT_IN, no_stored_sets)
    return {fault.pointer: fault for fault in caught.value.faults}


def test_defaults_come_from_the_base_model_and_names_get_their_version() -> None:
    spec = resolved()
    assert spec.base_model == "tiny-unet@1"
    assert spec.rewards[0].reward == "tiny-action@1"
    assert (spec.video.width, spec.video.height, spec.video.num_frames) == (32, 32, 8)
    assert spec.adapter.target_modules == BUILT_IN.base_models["tiny-unet"].lora_targets


def test_what_the_spec_says_wins_over_the_defaults() -> None:
    spec = resolved(video={"num_frames": 12, "guidance_scale": 1.0})
    assert (spec.video.num_frames, spec.video.guidance_scale) == (12, 1.0)


def test_resolving_twice_changes_nothing() -> None:
    spec = resolved()
    assert check(spec.model_dump(mode="json"), BUILT_IN, no_stored_sets) == spec


def test_default_guards_leave_out_what_is_trained_and_what_needs_more_seeds() -> None:
    assert resolved().guards == [
        Guard(reward="diversity@1", min_ratio_to_base=0.8),
        Guard(reward="motion@1", min_ratio_to_base=0.8),
        Guard(reward="tiny-text-match@1", max_drop=0.5),
    ]
    trained = resolved(rewards=[{"reward": "tiny-text-match"}], evaluation={"seeds": [1]})
    assert trained.guards == [Guard(reward="motion@1", min_ratio_to_base=0.8)]
    assert resolved(guards=[]).guards == []


def test_all_faults_come_at_once_with_pointers_and_legal_values() -> None:
    found = faults(
        a_spec(
            rewards=[{"reward": "tiny-acton"}, {"reward": "diversity"}],
            video={"width": 30, "num_frames": 99, "inference_steps": 3},
            method={"differentiable_steps": 4},
            budget={"max_steps": 0},
            webhookUrl="x",
        )
    )
    assert set(found) == {
        "/rewards/0/reward",
        "/rewards/1/reward",
        "/video/width",
        "/video/num_frames",
        "/method/differentiable_steps",
        "/budget/max_steps",
        "/webhookUrl",
    }
    assert found["/rewards/0/reward"].nearest[0] == "tiny-action@1"
    assert found["/rewards/1/reward"].code == "guard_only"
    assert set(found["/video/width"].nearest) == {24, 32}
    assert found["/video/num_frames"].nearest[0] == 24
    assert found["/method/differentiable_steps"].nearest == [3]


def test_an_unknown_field_hides_no_fault_beside_it() -> None:
    found = faults(a_spec(video={"widht": 32, "height": 31}))
    assert "Did you mean 'width'?" in found["/video/widht"].detail
    assert "/video/height" in found


def test_causal_frame_counts_are_named() -> None:
    found = faults(a_spec(base_model="tiny-wan", video={"num_frames": 8}))
    assert "2k+1" in found["/video/num_frames"].detail
    assert set(found["/video/num_frames"].nearest) == {7, 9}


def test_an_unknown_version_is_an_unknown_row() -> None:
    assert faults(a_spec(base_model="tiny-unet@2"))["/base_model"].code == "unknown_base_model"


def test_every_prompt_without_a_known_target_is_named() -> None:
    prompts = [
        {"prompt": "a", "heldout": True},
        {"prompt": "b", "target": "moving left", "heldout": False},
    ]
    found = faults(a_spec(prompts={"inline": prompts}))
    assert list(found) == ["/prompts/inline/0/target"]
    assert "moving up" in found["/prompts/inline/0/target"].detail


def test_both_sides_need_a_prompt() -> None:
    prompts = [{"prompt": "a", "target": "moving left", "heldout": True}]
    assert (
        faults(a_spec(prompts={"inline": prompts}))["/prompts/inline"].code == "no_training_prompts"
    )


def test_a_stored_set_is_loaded_and_a_missing_one_is_a_fault() -> None:
    stored = [Prompt.model_validate(p) for p in a_spec()["prompts"]["inline"]]
    document = a_spec(prompts={"prompt_set": "ps_1"})
    assert check(document, BUILT_IN, {"ps_1": stored}.get).prompts.prompt_set == "ps_1"
    assert faults(document)["/prompts/prompt_set"].code == "unknown_prompt_set"


def test_parameters_that_a_reward_does_not_take_are_refused() -> None:
    rewards = [{"reward": "tiny-action", "params": {"target/label": 1}}]
    assert "/rewards/0/params/target~1label" in faults(a_spec(rewards=rewards))


@pytest.mark.parametrize("name", ["reference-distance", "jpeg-size"])
def test_every_reward_can_be_a_guard(name: str) -> None:
    (guard,) = resolved(guards=[{"reward": name}]).guards or []
    assert guard.reward == f"{name}@1"


def test_a_guard_takes_only_the_bound_that_fits_its_score() -> None:
    wrong = [
        {"reward": "motion", "max_drop": 1.0},
        {"reward": "tiny-text-match", "min_ratio_to_base": 0.9},
    ]
    found = faults(a_spec(guards=wrong))
    assert found["/guards/0/max_drop"].code == "bound_does_not_fit"
    assert found["/guards/1/min_ratio_to_base"].code == "bound_does_not_fit"


def test_diversity_needs_two_seeds() -> None:
    found = faults(a_spec(guards=[{"reward": "diversity"}], evaluation={"seeds": [1]}))
    assert found["/evaluation/seeds"].code == "too_few_seeds"


def test_a_reward_of_whole_videos_needs_two_frames() -> None:
    single = faults(a_spec(method={"frames": {"mode": "random", "n": 1}}))
    assert single["/method/frames"].code == "too_few_frames"
    still = faults(a_spec(video={"num_frames": 1}))
    assert still["/video/num_frames"].code == "too_few_frames"
    per_frame = resolved(
        rewards=[{"reward": "tiny-text-match"}], method={"frames": {"mode": "index", "index": 0}}
    )
    assert isinstance(per_frame.method, RewardGradient)
    assert per_frame.method.frames.index == 0


@pytest.mark.parametrize("document", [None, [], "spec", 3])
def test_a_document_that_is_no_object_is_a_fault(document: JsonValue) -> None:
    assert set(faults(document)) == {""}


def with_row(row: BaseModelRow | RewardRow) -> Catalogue:
    base_models, rewards = dict(BUILT_IN.base_models), dict(BUILT_IN.rewards)
    if isinstance(row, BaseModelRow):
        base_models[row.id] = row
    else:
        rewards[row.id] = row
    return Catalogue(base_models=base_models, rewards=rewards)


def faults_with(row: BaseModelRow | RewardRow, document: JsonValue) -> dict[str, Fault]:
    with pytest.raises(InvalidSpec) as caught:
        check(document, with_row(row), no_stored_sets)
    return {fault.pointer: fault for fault in caught.value.faults}


def test_weights_that_are_not_installed_are_told_before_anything_runs() -> None:
    found = faults(
        a_spec(
            base_model="wan2.1-t2v-1.3b",
            rewards=[{"reward": "pickscore"}],
            guards=[{"reward": "aesthetic"}],
        )
    )
    for pointer in ("/base_model", "/rewards/0/reward", "/guards/0/reward"):
        assert found[pointer].code == "weights_not_installed"
        assert "python -m vader_core fetch" in found[pointer].detail


def test_a_variant_brings_its_steps_and_guidance() -> None:
    fast = Variant(title="4 steps", licence="none", inference_steps=4, guidance_scale=1.0)
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"variants": {"fast": fast}})
    spec = check(a_spec(variant="fast"), with_row(row), no_stored_sets)
    assert (spec.video.inference_steps, spec.video.guidance_scale) == (4, 1.0)
    assert spec.video.width == row.defaults.width
    found = faults_with(row, a_spec(variant="fats"))
    assert found["/variant"].code == "unknown_variant"
    assert found["/variant"].nearest == ["fast"]


def test_a_variant_whose_weights_are_missing_is_refused() -> None:
    absent = Variant(
        title="4 steps",
        licence="none",
        inference_steps=4,
        guidance_scale=1.0,
        file=Path("absent.safetensors"),
    )
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"variants": {"fast": absent}})
    assert faults_with(row, a_spec(variant="fast"))["/variant"].code == "weights_not_installed"


def test_first_images_are_asked_for_and_refused_where_they_have_no_use() -> None:
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"needs_image": True})
    prompt = {"prompt": "a red circle moving left", "target": "moving left"}
    other = {"prompt": "a blue circle moving up", "target": "moving up", "heldout": True}
    image = {"image": "upl_1.png"}
    found = faults_with(row, a_spec(prompts={"inline": [{**prompt, **image}, other]}))
    assert found["/prompts/inline/1/image"].code == "missing_image"
    assert "/prompts/inline/0/image" not in found
    found = faults(a_spec(prompts={"inline": [prompt, {**other, **image}]}))
    assert found["/prompts/inline/1/image"].code == "image_not_used"


def test_parameters_are_checked_against_the_rewards_schema() -> None:
    schema: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"object": {"enum": ["circle", "square"]}, "size": {"type": "number"}},
        "required": ["object"],
        "additionalProperties": False,
    }
    row = BUILT_IN.rewards["tiny-text-match"].model_copy(update={"params_schema": schema})

    def found(params: JsonValue) -> dict[str, Fault]:
        return faults_with(row, a_spec(rewards=[{"reward": row.id, "params": params}]))

    assert found({})["/rewards/0/params"].code == "missing_param"
    wrong = found({"object": "book", "size": "big", "colour": 1})
    assert wrong["/rewards/0/params/object"].code == "invalid_param"
    assert "circle" in wrong["/rewards/0/params/object"].detail
    assert wrong["/rewards/0/params/size"].code == "invalid_param"
    assert wrong["/rewards/0/params/colour"].code == "unknown_param"


def test_a_reward_is_named_once() -> None:
    twice = [{"reward": "tiny-action"}, {"reward": "tiny-action@1", "weight": 2.0}]
    assert faults(a_spec(rewards=twice))["/rewards/1/reward"].code == "duplicate_reward"


def test_the_default_text_match_is_of_the_base_models_own_world(tmp_path: Path) -> None:
    ours = Weights(folder=tmp_path)
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"id": "ours", "weights": ours})
    spec = check(a_spec(base_model="ours"), with_row(row), no_stored_sets)
    assert "tiny-text-match@1" not in {guard.reward for guard in spec.guards or []}


def test_a_variant_is_made_for_its_own_steps_and_guidance() -> None:
    fast = Variant(title="4 steps", licence="none", inference_steps=4, guidance_scale=1.0)
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"variants": {"fast": fast}})
    video = {"inference_steps": 6, "guidance_scale": 3.0}
    found = faults_with(row, a_spec(variant="fast", video=video))
    assert found["/video/inference_steps"].nearest == [4]
    assert found["/video/guidance_scale"].nearest == [1.0]
    spec = check(a_spec(variant="fast"), with_row(row), no_stored_sets)
    assert check(spec.model_dump(mode="json"), with_row(row), no_stored_sets) == spec


def test_sizes_that_go_in_pairs_are_told_with_the_nearest_in_shape() -> None:
    tiny = BUILT_IN.base_models["tiny-unet"]
    sizes = tiny.sizes.model_copy(update={"pairs": [(32, 32), (64, 16), (16, 64)]})
    row = tiny.model_copy(update={"sizes": sizes})
    fault = faults_with(row, a_spec(video={"width": 64, "height": 24}))["/video/width"]
    assert fault.nearest[0] == [64, 16]
    assert "64x16" in fault.detail
    assert check(a_spec(), with_row(row), no_stored_sets).video.width == 32


def test_a_sampler_may_need_some_steps() -> None:
    row = BUILT_IN.base_models["tiny-unet"].model_copy(update={"min_steps": 2})
    found = faults_with(row, a_spec(video={"inference_steps": 1}))
    assert found["/video/inference_steps"].nearest == [2]


def test_a_reward_may_need_more_than_two_frames() -> None:
    rewards = [{"reward": "tiny-temporal-consistency"}]
    short = faults(a_spec(rewards=rewards, video={"num_frames": 3}))
    assert "/rewards/0 needs 4" in short["/video/num_frames"].detail
    few = faults(a_spec(rewards=rewards, method={"frames": {"mode": "random", "n": 3}}))
    assert "/rewards/0 needs 4" in few["/method/frames"].detail


def test_a_guards_targets_are_checked_too() -> None:
    prompts = [{"prompt": "a red circle", "heldout": i == 1} for i in range(2)]
    job = a_spec(
        rewards=[{"reward": "tiny-text-match"}],
        guards=[{"reward": "tiny-action"}],
        prompts={"inline": prompts},
    )
    assert faults(job)["/prompts/inline/0/target"].code == "unknown_target"


def test_a_seed_is_named_once() -> None:
    assert "/evaluation/seeds" in faults(a_spec(evaluation={"seeds": [3, 3]}))


def test_another_text_match_guards_a_trained_one(tmp_path: Path) -> None:
    match = BUILT_IN.rewards["tiny-text-match"]
    other = match.model_copy(update={"id": "z-match"})
    spec = check(a_spec(rewards=[{"reward": match.id}]), with_row(other), no_stored_sets)
    assert "z-match@1" in {guard.reward for guard in spec.guards or []}


def test_converted_weights_name_both_commands() -> None:
    fault = faults(a_spec(rewards=[{"reward": "hps-v2.1"}]))["/rewards/0/reward"]
    assert "fetch hps-v2.1 --file" in fault.detail
    assert "convert hps" in fault.detail
