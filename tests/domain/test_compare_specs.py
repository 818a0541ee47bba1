from __future__ import annotations

from typing import Any

from domain.compare_specs import differences, incomparable, same_prompts
from tests import factories


def spec(**changes: Any) -> dict[str, Any]:
    resolved: dict[str, Any] = factories.spec(**changes).model_dump(mode="json")
    return resolved


def pointers(*specs: dict[str, Any]) -> dict[str, list[Any]]:
    return {found.pointer: found.values for found in differences(specs)}


def test_specs_that_differ_in_name_and_labels_alone_are_alike() -> None:
    one, two = spec(name="a", labels={"x": "1"}), spec(name="b")
    assert differences([one, two]) == []
    assert incomparable([one, two], "heldout_reward") == []


def test_every_differing_field_is_told_with_all_values() -> None:
    found = pointers(
        spec(seed=1), spec(seed=2, budget={"max_steps": 9}), spec(seed=1, adapter={"rank": 4})
    )
    assert found == {
        "/seed": [1, 2, 1],
        "/budget/max_steps": [20, 9, 20],
        "/adapter/rank": [16, 16, 4],
    }


def test_settings_that_a_method_does_not_have_are_null() -> None:
    found = pointers(spec(), spec(method={"type": "ddpo"}))
    assert found["/method/type"] == ["reward_gradient", "ddpo"]
    assert found["/method/clip_range"][0] is None
    assert found["/method/clip_range"][1] is not None


def test_short_lists_are_compared_item_by_item_and_others_as_a_whole() -> None:
    rewards = [{"reward": "tiny-action", "weight": weight} for weight in (1.0, 2.0)]
    by_item = pointers(spec(rewards=rewards[:1]), spec(rewards=rewards[1:]))
    assert by_item == {"/rewards/0/weight": [1.0, 2.0]}
    [one, two] = pointers(spec(), spec(evaluation={"seeds": [1, 2, 3]}))["/evaluation/seeds"]
    assert (one, two) == ([11, 12], [1, 2, 3])


def test_a_reward_of_the_sum_is_the_same_whatever_its_weight_and_not_in_another_version() -> None:
    one = spec()
    heavier = spec(rewards=[{"reward": "tiny-action", "weight": 3.0}])
    newer = spec()
    newer["rewards"][0]["reward"] = "tiny-action@2"
    by_sum, by_reward = "heldout_reward", "heldout_reward.tiny-action"
    assert [remark.code for remark in incomparable([one, heavier], by_sum)] == ["different_rewards"]
    assert incomparable([one, heavier], by_reward) == []
    assert [remark.code for remark in incomparable([one, newer], by_reward)] == [
        "different_rewards"
    ]


def test_training_prompts_count_for_what_is_measured_in_training() -> None:
    def of(*texts: str, **changes: Any) -> dict[str, Any]:
        kept = [{"prompt": "a red square", "target": "moving up", "heldout": True}]
        inline = [{"prompt": text, "target": "moving left", "heldout": False} for text in texts]
        return spec(prompts={"inline": [*inline, *kept], **changes})

    one, two, turned = of("a cat", "a dog"), of("a cat", "a cow"), of("a dog", "a cat")
    for key in ("reward", "reward.tiny-action", "loss"):
        assert [found.code for found in incomparable([one, two], key)] == [
            "different_training_prompts"
        ]
    assert incomparable([one, two], "heldout_reward") == []
    assert incomparable([one, two], "seconds") == []
    assert incomparable([one, turned], "reward") == []
    assert same_prompts([one, two], "heldout")


def test_stored_prompts_are_the_same_by_version_and_fraction() -> None:
    def of(prompt_set: str, fraction: float = 0.2) -> dict[str, Any]:
        return {**spec(), "prompts": {"prompt_set": prompt_set, "heldout_fraction": fraction}}

    assert same_prompts([of("ps_1@v1"), of("ps_1@v1")], "heldout")
    assert not same_prompts([of("ps_1@v1"), of("ps_1@v2")], "heldout")
    assert not same_prompts([of("ps_1@v1"), of("ps_1@v1", 0.3)], "training")
