"""Generations: defaults filled in, and every fault at once with its pointer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from vader_core.catalogue import BUILT_IN, Catalogue
from vader_core.faults import InvalidSpec
from vader_core.generating import GenerationSpec, ScoreWith
from vader_core.generation_faults import AdapterOrigin, check

ORIGIN = AdapterOrigin("tiny-wan@1", None)
PROMPT = "a red circle moving left"


def origin_of(name: str) -> AdapterOrigin | None:
    return ORIGIN if name == "ad_known" else None


def checked(catalogue: Catalogue = BUILT_IN, **document: Any) -> GenerationSpec:
    return check({"prompt": PROMPT, **document}, catalogue, origin_of)


def faults_of(document: JsonValue, catalogue: Catalogue = BUILT_IN) -> set[tuple[str, str]]:
    with pytest.raises(InvalidSpec) as caught:
        check(document, catalogue, origin_of)
    found = [(fault.pointer, fault.code) for fault in caught.value.faults]
    assert len(set(found)) == len(found)
    return set(found)


def test_defaults_are_filled_in_and_filling_in_again_changes_nothing() -> None:
    spec = checked(adapter="ad_known", seed=3, num_videos=2, score_with=["motion"])
    assert (spec.base_model, spec.adapter_scale, spec.seeds) == ("tiny-wan@1", 1.0, [3, 4])
    assert spec.roles == ["adapter"]
    assert spec.video.model_dump(include={"width", "num_frames", "inference_steps"}) == {
        "width": 32,
        "num_frames": 9,
        "inference_steps": 10,
    }
    assert spec.score_with == [ScoreWith(reward="motion@1")]
    assert check(spec.model_dump(mode="json"), BUILT_IN, origin_of) == spec


def test_a_base_model_alone_has_no_scale() -> None:
    spec = checked(base_model="tiny-unet")
    assert (spec.base_model, spec.adapter_scale, spec.seeds) == ("tiny-unet@1", None, [0])
    assert spec.roles == ["base"]


def test_the_base_model_is_made_before_the_adapter_it_is_compared_with() -> None:
    assert checked(adapter="ad_known", compare_with_base=True).roles == ["base", "adapter"]


def test_a_negative_prompt_is_the_videos() -> None:
    spec = checked(base_model="tiny-unet", negative_prompt="blurry")
    assert spec.video.negative_prompt == "blurry"


def test_all_faults_come_at_once() -> None:
    document: JsonValue = {
        "base_model": "tiny-wn",
        "prompt": " ",
        "adapter_scale": 3,
        "promt": "x",
        "seeds": [1, 1],
        "seed": 3,
        "negative_prompt": "a",
        "video": {"width": 17, "num_frames": "x", "negative_prompt": "b"},
        "compare_with_base": True,
        "score_with": ["tiny-action", 3, "none", {"reward": "motion", "params": {"x": 1}}],
    }
    assert faults_of(document) == {
        ("/base_model", "unknown_base_model"),
        ("/prompt", "string_pattern_mismatch"),
        ("/adapter_scale", "less_than_equal"),
        ("/promt", "unknown_field"),
        ("/seeds", "duplicate_seed"),
        ("/seed", "two_seeds"),
        ("/negative_prompt", "two_negative_prompts"),
        ("/video/num_frames", "int_parsing"),
        ("/compare_with_base", "no_adapter"),
        ("/target", "unknown_target"),
        ("/score_with/1", "string_type"),
        ("/score_with/1", "model_type"),
        ("/score_with/2", "unknown_reward"),
        ("/score_with/3/params/x", "unknown_param"),
    }


def test_settings_have_to_fit_the_base_model() -> None:
    video = {"width": 17, "num_frames": 4}
    assert faults_of(
        {"prompt": PROMPT, "base_model": "tiny-wan", "image": "x", "video": video}
    ) == {
        ("/video/width", "not_in_set"),
        ("/video/num_frames", "not_in_set"),
        ("/image", "image_not_used"),
    }


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_refused(document: JsonValue) -> None:
    assert faults_of(document)


def test_something_must_make_the_videos() -> None:
    assert faults_of({"prompt": PROMPT}) == {("/base_model", "missing")}


def test_an_unknown_adapter_hides_no_other_fault() -> None:
    assert faults_of({"adapter": "ad_none", "prompt": ""}) == {
        ("/adapter", "unknown_adapter"),
        ("/prompt", "string_too_short"),
    }


def test_an_adapter_goes_with_its_own_base_model_alone() -> None:
    assert faults_of(
        {"adapter": "ad_known", "prompt": PROMPT, "base_model": "tiny-unet", "variant": "fast"}
    ) == {("/base_model", "other_base_model"), ("/variant", "other_variant")}
    for name in ("tiny-wan", "tiny-wan@1"):
        assert checked(adapter="ad_known", base_model=name).base_model == "tiny-wan@1"


def test_a_scale_needs_an_adapter() -> None:
    document = {"base_model": "tiny-unet", "prompt": PROMPT, "adapter_scale": 0.5}
    assert faults_of(document) == {("/adapter_scale", "no_adapter")}


def test_rewards_have_to_be_able_to_score_these_videos() -> None:
    (reference,) = (row.id for row in BUILT_IN.rewards.values() if row.needs_reference)
    document: JsonValue = {
        "base_model": "tiny-unet",
        "prompt": PROMPT,
        "video": {"num_frames": 1},
        "score_with": ["diversity", reference, "motion", "motion@1"],
    }
    assert faults_of(document) == {
        ("/score_with/0", "too_few_videos"),
        ("/score_with/1", "needs_reference"),
        ("/score_with/1", "too_few_frames"),
        ("/score_with/2", "too_few_frames"),
        ("/score_with/3", "duplicate_reward"),
        ("/score_with/3", "too_few_frames"),
    }
    assert checked(base_model="tiny-unet", seeds=[1, 2], score_with=["diversity"]).seeds == [1, 2]


def test_a_base_model_that_starts_from_an_image_needs_one() -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_copy(update={"needs_image": True})
    models = {**BUILT_IN.base_models, "tiny-wan": row}
    catalogue = BUILT_IN.model_copy(update={"base_models": models})
    document: JsonValue = {"base_model": "tiny-wan", "prompt": PROMPT}
    assert faults_of(document, catalogue) == {("/image", "missing_image")}
    assert checked(catalogue, base_model="tiny-wan", image="first.png").image == "first.png"
