from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from tests.vader_core.test_spec import a_spec
from vader_core.catalogue import BUILT_IN
from vader_core.faults import Fault, InvalidSpec
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
        Guard(reward="diversity@1"),
        Guard(reward="motion@1"),
        Guard(reward="tiny-text-match@1"),
    ]
    trained = resolved(rewards=[{"reward": "tiny-text-match"}], evaluation={"seeds": [1]})
    assert trained.guards == [Guard(reward="motion@1")]
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
    assert found["/rewards/1/reward"].code == "not_differentiable"
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
    assert per_frame.method.frames.index == 0


@pytest.mark.parametrize("document", [None, [], "spec", 3])
def test_a_document_that_is_no_object_is_a_fault(document: JsonValue) -> None:
    assert set(faults(document)) == {""}
