from __future__ import annotations

from typing import Any

import pytest

from tests.vader_core.test_resolve import faults, resolved
from tests.vader_core.test_spec import a_spec
from vader_core.spec import EarlyStop


def stopping(**early_stop: Any) -> dict[str, Any]:
    return {
        "evaluation": {"every_steps": 1},
        "early_stop": early_stop,
        "budget": {"max_steps": 4},
    }


def test_the_watched_reward_gets_its_version_and_may_be_a_default_guard() -> None:
    spec = resolved(**stopping(metric="unseen_reward", reward="tiny-text-match"))
    assert spec.early_stop == EarlyStop(metric="unseen_reward", reward="tiny-text-match@1")
    assert resolved(**stopping(metric="guards")).early_stop == EarlyStop(metric="guards")


@pytest.mark.parametrize("reward", ["sharpness", "jpeg-size"])
def test_only_a_guard_can_be_watched(reward: str) -> None:
    found = faults(a_spec(**stopping(metric="unseen_reward", reward=reward)))
    assert list(found) == ["/early_stop/reward"]
    assert found["/early_stop/reward"].code == "not_a_guard"
    assert found["/early_stop/reward"].nearest == ["diversity", "motion", "tiny-text-match"]


def test_what_is_trained_on_is_not_unseen() -> None:
    job = stopping(metric="unseen_reward", reward="tiny-action")
    found = faults(a_spec(guards=[{"reward": "tiny-action"}], **job))
    assert found["/early_stop/reward"].code == "trained_on"


def test_without_guards_there_are_none_to_stop_by() -> None:
    found = faults(a_spec(guards=[], **stopping(metric="guards")))
    assert found["/early_stop/metric"].code == "no_guards"
    named = faults(a_spec(guards=[], **stopping(metric="unseen_reward", reward="motion")))
    assert "it has none" in named["/early_stop/reward"].detail


@pytest.mark.parametrize("reward", ["no-such-reward", "motion@7", "motoin"])
def test_a_reward_that_is_nowhere_is_told_apart_from_one_that_is_no_guard(reward: str) -> None:
    found = faults(a_spec(**stopping(metric="unseen_reward", reward=reward)))
    assert found["/early_stop/reward"].code == "unknown_reward"


def test_an_early_stop_needs_evaluations_and_hides_no_other_fault() -> None:
    found = faults(a_spec(early_stop={}, base_model="tiny-unett", rewards=[{"reward": "nothing"}]))
    assert set(found) == {"/evaluation/every_steps", "/base_model", "/rewards/0/reward"}
    assert found["/evaluation/every_steps"].code == "missing_setting"


@pytest.mark.parametrize(
    ("early_stop", "pointer", "code"),
    [
        ({"metric": "unseen_reward"}, "/early_stop/reward", "missing_setting"),
        ({"metric": "guards", "reward": "motion"}, "/early_stop/reward", "setting_not_used"),
        ({"metric": "guards", "min_delta": 0.1}, "/early_stop/min_delta", "setting_not_used"),
    ],
)
def test_an_early_stop_has_the_settings_of_its_metric(
    early_stop: dict[str, Any], pointer: str, code: str
) -> None:
    found = faults(a_spec(**stopping(**early_stop)))
    assert {place: fault.code for place, fault in found.items()} == {pointer: code}


@pytest.mark.parametrize(
    ("every", "patience", "pointer", "nearest"),
    [
        (2, 3, "/early_stop/patience_evals", [2]),
        (5, 2, "/evaluation/every_steps", [2]),
        (9, 8, "/evaluation/every_steps", [1]),
    ],
)
def test_an_early_stop_that_can_never_fire_is_refused(
    every: int, patience: int, pointer: str, nearest: list[int]
) -> None:
    job = stopping(patience_evals=patience) | {"evaluation": {"every_steps": every}}
    found = faults(a_spec(**job))
    assert list(found) == [pointer]
    assert (found[pointer].code, found[pointer].nearest) == ("early_stop_never", nearest)
    assert list(faults(a_spec(**(job | {"budget": {"max_steps": 0}})))) == ["/budget/max_steps"]
