from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vader_core.spec import Budget, Frames, JobSpec, Prompts, spec_hash


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


def test_early_stop_needs_evaluations() -> None:
    with pytest.raises(ValidationError, match=r"evaluation\.every_steps"):
        JobSpec.model_validate(a_spec(early_stop={}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        JobSpec.model_validate(a_spec(budget={"max_steps": 1, "max_gpu_seconds": value}))
