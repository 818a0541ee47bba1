from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from vader_core.lines import Checkpoint, Counters, Done, Failed, File, Interrupted
from vader_core.spec import Budget
from worker.outcome import Broken, Cancelled, Ending, Paused, Released, Succeeded, judge

AT = datetime(2026, 11, 23, tzinfo=UTC)
DONE = Done(
    at=AT,
    step=6,
    stop_reason="completed_steps",
    verdict="improved",
    reward_queries=48,
    evaluation_queries=8,
    gpu_seconds=3.0,
    path="adapter",
    files=[],
)
FAILED = Failed(
    at=AT,
    step=3,
    code="reward_not_finite",
    message="The reward gave NaN.",
    hint="Lower the learning rate.",
    fault="user",
    retryable=False,
    last_checkpoint=None,
)
WEIGHTS = File(
    path="checkpoints/step-000004/adapter/adapter_model.safetensors", size_bytes=1, sha256="ab"
)
STATE = File(path="checkpoints/step-000004/state.json", size_bytes=1, sha256="cd")
CHECKPOINT = Checkpoint(
    at=AT,
    step=4,
    path="checkpoints/step-000004",
    files=[WEIGHTS, STATE],
    counters=Counters(reward_queries=32, evaluation_queries=4, gpu_seconds=2.0),
)


def ending(**changes: Any) -> Ending:
    values: dict[str, Any] = {
        "exit_status": 0,
        "cause": None,
        "killed": False,
        "last_step": None,
        "done": None,
        "failed": None,
        "interrupted": None,
        "checkpoint": None,
    }
    return Ending(**{**values, **changes})


def error_code(ended: Ending) -> str:
    outcome = judge(ended)
    assert isinstance(outcome, Broken)
    return outcome.error.code


def test_a_finished_adapter_is_a_success() -> None:
    assert judge(ending(done=DONE)) == Succeeded(done=DONE)


def test_a_finished_adapter_counts_even_if_the_process_fell_over_on_its_way_out() -> None:
    assert judge(ending(done=DONE, exit_status=139)) == Succeeded(done=DONE)


def test_a_ceiling_that_the_trainer_kept_is_a_success() -> None:
    assert judge(ending(done=DONE, cause="deadline")) == Succeeded(done=DONE)


def test_a_trainer_killed_at_a_ceiling_leaves_its_newest_checkpoints_adapter() -> None:
    outcome = judge(ending(cause="wall_clock", killed=True, exit_status=137, checkpoint=CHECKPOINT))
    assert isinstance(outcome, Succeeded)
    assert outcome.done.stop_reason == "wall_clock"
    assert outcome.done.step == 4
    assert outcome.done.files == [WEIGHTS]
    assert outcome.done.verdict is None


def test_a_ceiling_before_the_first_checkpoint_is_the_users_to_mend() -> None:
    outcome = judge(ending(cause="gpu_seconds", killed=True, exit_status=137))
    assert isinstance(outcome, Broken)
    assert outcome.error.code == "budget_too_small"
    assert (outcome.error.fault, outcome.error.retryable) == ("user", False)


@pytest.mark.parametrize("done", [DONE, None])
def test_a_cancelled_trainer_hands_over_its_adapter_if_it_has_one(done: Done | None) -> None:
    assert judge(ending(cause="cancelled", done=done)) == Cancelled(done=done)


def test_an_unwanted_adapter_is_not_handed_over() -> None:
    assert judge(ending(cause="discarded", done=DONE)) == Cancelled(done=None)


@pytest.mark.parametrize("exit_status", [3, 137, 143])
def test_a_drained_trainer_goes_back_to_the_queue(exit_status: int) -> None:
    ended = ending(cause="drained", exit_status=exit_status, killed=exit_status == 137)
    assert isinstance(judge(ended), Released)


def test_a_drained_trainer_that_failed_by_itself_has_failed() -> None:
    assert error_code(ending(cause="drained", failed=FAILED, exit_status=12)) == FAILED.code


def test_an_error_line_is_handed_on() -> None:
    outcome = judge(ending(failed=FAILED, exit_status=12))
    assert isinstance(outcome, Broken)
    assert outcome.error.model_dump(include={"code", "message", "hint", "fault", "retryable"}) == {
        "code": "reward_not_finite",
        "message": "The reward gave NaN.",
        "hint": "Lower the learning rate.",
        "fault": "user",
        "retryable": False,
    }


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exit_status": 137, "oom_kills": 1}, "host_out_of_memory"),
        ({"exit_status": 137, "oom_kills": 0}, "trainer_killed"),
        ({"exit_status": 137, "oom_kills": None}, "trainer_killed"),
        ({"exit_status": 137, "cause": "hung", "killed": True}, "trainer_hung"),
        ({"exit_status": 139}, "trainer_crashed"),
        ({"exit_status": 70}, "trainer_crashed"),
        ({"exit_status": 0}, "trainer_crashed"),
        ({"exit_status": 3}, "trainer_crashed"),
    ],
)
def test_an_end_without_a_word_gets_a_typed_error(changes: dict[str, Any], code: str) -> None:
    assert error_code(ending(**changes)) == code


@pytest.mark.parametrize("exit_status", [3, 137, 143])
def test_a_pause_that_was_asked_for_counts_however_the_trainer_went(exit_status: int) -> None:
    ended = ending(exit_status=exit_status, cause="paused", checkpoint=CHECKPOINT)
    assert judge(ended) == Paused(reason="requested")


def test_a_trainer_that_was_done_or_failed_before_the_pause_is_not_paused() -> None:
    assert judge(ending(cause="paused", done=DONE)) == Succeeded(done=DONE)
    assert isinstance(judge(ending(cause="paused", failed=FAILED)), Broken)


@pytest.mark.parametrize("cause", [None, "gpu_seconds", "drained"])
def test_a_trainer_that_pauses_at_a_ceiling_says_which(cause: str | None) -> None:
    budget = Budget(max_steps=9, max_gpu_seconds=8)
    interrupted = Interrupted(at=AT, step=4, ceiling="gpu_seconds", budget=budget)
    ended = ending(exit_status=3, cause=cause, interrupted=interrupted)
    assert judge(ended) == Paused(reason="gpu_seconds", stopped_by=budget)


def test_one_killed_beyond_a_ceiling_is_paused_where_the_budget_says_so() -> None:
    killed = {"exit_status": 137, "cause": "deadline", "killed": True}
    by = Budget(max_steps=9)
    ended = ending(**killed, pauses_at_ceilings=True, stopped_by=by)
    assert judge(ended) == Paused(reason="deadline", stopped_by=by)
    outcome = judge(ending(**killed, checkpoint=CHECKPOINT))
    assert isinstance(outcome, Succeeded)
    assert (outcome.done.reward_queries, outcome.done.gpu_seconds) == (32, 2.0)
