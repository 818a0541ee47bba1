from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from vader_core.method_spec import (
    GRADIENT_FREE,
    SETTINGS,
    Frames,
    MethodName,
    RelativePrompt,
    RewardGradient,
)
from vader_core.spec import Budget, JobSpec, Money, Prompts, spec_hash
from vader_core.strict import Strict


def a_spec(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "base_model": "tiny-unet",
        "rewards": [{"reward": "tiny-action"}],
        "prompts": {
            "inline": [
                {"prompt": "a red circle moving left", "target": "moving left", "heldout": False},
                {"prompt": "a blue square moving up", "target": "moving up", "heldout": True},
            ]
        },
        "budget": {"max_steps": 4},
    }
    return {**spec, **changes}


def test_a_spec_survives_the_way_through_json() -> None:
    spec = JobSpec.model_validate(a_spec())
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_hash_ignores_the_order_of_keys_and_sees_every_value() -> None:
    one = JobSpec.model_validate(a_spec(labels={"a": "1", "b": "2"}))
    two = JobSpec.model_validate(dict(reversed(a_spec(labels={"b": "2", "a": "1"}).items())))
    other = JobSpec.model_validate(a_spec(labels={"a": "1", "b": "3"}))
    assert spec_hash(one) == spec_hash(two) != spec_hash(other)
    assert spec_hash(one).startswith("sha256:")


@pytest.mark.parametrize(
    "frames",
    [
        {"mode": "random"},
        {"mode": "all", "n": 2},
        {"mode": "index"},
        {"mode": "every_nth", "index": 1},
    ],
)
def test_frames_refuse_a_mode_without_its_number(frames: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="goes with mode"):
        Frames.model_validate(frames)


def test_prompts_come_from_exactly_one_place() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Prompts.model_validate({})
    with pytest.raises(ValidationError, match="exactly one"):
        Prompts.model_validate({"prompt_set": "ps_1", "inline": [{"prompt": "a"}]})


def test_a_deadline_needs_a_time_zone() -> None:
    with pytest.raises(ValidationError, match="time zone"):
        Budget.model_validate({"max_steps": 1, "deadline_at": "2026-11-24T06:00:00"})


@pytest.mark.parametrize("frames", [{"mode": "index", "index": 1}, {"mode": "random", "n": 1}])
def test_a_single_frame_is_not_weighed(frames: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="choose more than one"):
        Frames.model_validate({**frames, "centre_decay": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(a_spec(budget={"max_steps": 1, "max_gpu_seconds": value}))


def test_a_method_is_told_by_its_type_and_is_reward_gradient_without_one() -> None:
    for name, settings in SETTINGS.items():
        method = JobSpec.model_validate(a_spec(method={"type": name})).method
        assert type(method) is settings
        assert method.type == name
    untold = JobSpec.model_validate(a_spec(method={"differentiable_steps": 2})).method
    assert untold == RewardGradient(differentiable_steps=2)
    assert set(GRADIENT_FREE) == set(SETTINGS) - {"reward_gradient"}


def test_every_setting_of_every_method_says_what_it_means() -> None:
    assert get_args(MethodName) == tuple(SETTINGS)
    parts: list[type[Strict]] = [*SETTINGS.values(), Frames, RelativePrompt]
    for settings in parts:
        silent = {name for name, field in settings.model_fields.items() if not field.description}
        assert silent <= {"type"}


def test_the_schema_tells_methods_apart_by_their_type() -> None:
    schema = JobSpec.model_json_schema()
    discriminator = schema["properties"]["method"]["discriminator"]
    assert discriminator["propertyName"] == "type"
    for name, reference in discriminator["mapping"].items():
        settings = schema["$defs"][reference.rpartition("/")[2]]
        assert settings["properties"]["type"]["const"] == name
    assert set(discriminator["mapping"]) == set(SETTINGS)


@pytest.mark.parametrize(
    ("step_range", "expected"),
    [((0.0, 1.0), range(10)), ((0.07, 0.3), range(1, 3)), ((0.5, 0.55), range(5, 6))],
)
def test_a_part_of_the_denoising_is_a_range_of_steps(
    step_range: tuple[float, float], expected: range
) -> None:
    assert RewardGradient(step_range=step_range).steps_in_range(10) == expected


@pytest.mark.parametrize("amount", ["1e-400", "0.0000001", "0", True])
def test_money_has_no_parts_smaller_than_a_millionth(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": amount})
    assert float(Money.model_validate({"amount": "0.000001"}).amount) > 0


@pytest.mark.parametrize("ceiling", ["max_gpu_seconds", "max_wall_clock_s", "max_queue_s"])
def test_a_ceiling_of_time_is_at_least_a_millisecond(ceiling: str) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate({"max_steps": 1, ceiling: 1e-320})
    assert getattr(Budget.model_validate({"max_steps": 1, ceiling: 0.001}), ceiling) == 0.001
