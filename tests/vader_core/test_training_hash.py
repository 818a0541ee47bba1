"""What may change when a run goes on, and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vader_core.trainer import small_spec
from vader_core.spec import JobSpec
from vader_core.training_hash import continuation_hash, training_hash

GUARDS = {"metric": "guards", "patience_evals": 2}


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(small_spec(**changes))


def same(one: JobSpec, two: JobSpec) -> tuple[bool, bool]:
    return (
        training_hash(one) == training_hash(two),
        continuation_hash(one) == continuation_hash(two),
    )


@pytest.mark.parametrize(
    ("changes", "resumes", "continues"),
    [
        ({"name": "other", "labels": {"a": "b"}, "priority": "high"}, True, True),
        ({"budget": {"max_steps": 900, "on_exhausted": "pause"}}, True, True),
        ({"checkpoints": {"every_steps": 1, "keep_last": 9}}, True, True),
        ({"init_from": {"checkpoint": "ck_1", "state": "full"}}, True, True),
        ({"method": {"learning_rate": 1e-5, "weight_decay": 0.1}}, False, True),
        ({"method": {"lr_schedule": "cosine", "warmup_steps": 3}}, False, True),
        ({"evaluation": {"every_steps": 2}}, False, True),
        ({"early_stop": {"metric": "heldout_reward"}}, False, True),
        ({"early_stop": GUARDS}, False, False),
        ({"method": {"batch_size": 1}}, False, False),
        ({"evaluation": {"seeds": [9]}}, False, False),
        ({"seed": 1}, False, False),
        ({"adapter": {"rank": 3}}, False, False),
    ],
)
def test_what_may_change(changes: dict[str, Any], resumes: bool, continues: bool) -> None:
    assert same(spec(), spec(**changes)) == (resumes, continues)


def test_more_patience_is_no_other_training_for_a_continuation() -> None:
    assert same(spec(early_stop=GUARDS), spec(early_stop={**GUARDS, "patience_evals": 5})) == (
        False,
        True,
    )


def test_a_schedule_that_falls_depends_on_the_steps() -> None:
    falling = {"lr_schedule": "linear"}
    longer = spec(method=falling, budget={"max_steps": 9})
    assert same(spec(method=falling), longer) == (False, True)
