from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from vader_core.ceilings import Clock, Spent, Used, reached
from vader_core.spec import Budget

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def used(**changes: object) -> Used:
    facts: dict[str, object] = {
        "steps": 10,
        "reward_queries": 80,
        "gpu_seconds": 50.0,
        "wall_clock_s": 50.0,
        "now": NOW,
        "queries_per_step": 8,
        "seconds_per_step": 2.0,
        "base_evaluation_s": 4.0,
        "evaluation_due": False,
    }
    return Used(**{**facts, **changes})  # type: ignore[arg-type]


def budget(**ceilings: object) -> Budget:
    return Budget.model_validate({"max_steps": 100, **ceilings})


def test_with_room_left_no_ceiling_is_reached() -> None:
    roomy = budget(
        max_reward_queries=1000,
        max_gpu_seconds=1000,
        max_wall_clock_s=1000,
        deadline_at=NOW + timedelta(hours=1),
    )
    assert reached(roomy, used(), cost_gpu_seconds=1000) is None


def test_the_last_step_ends_training() -> None:
    assert reached(budget(), used(steps=100), cost_gpu_seconds=None) == "completed_steps"


@pytest.mark.parametrize(("ceiling", "reason"), [(87, "reward_queries"), (88, None)])
def test_a_step_that_would_exceed_the_queries_is_not_begun(
    ceiling: int, reason: str | None
) -> None:
    assert reached(budget(max_reward_queries=ceiling), used(), cost_gpu_seconds=None) == reason


# A step of 2 s, 1.25 times the base evaluation of 4 s and 3 s for the export: 10 s.
@pytest.mark.parametrize(("left_s", "stops"), [(9.9, True), (10.1, False)])
def test_time_is_kept_back_for_the_final_evaluation(*, left_s: float, stops: bool) -> None:
    at_ceiling = {
        "gpu_seconds": budget(max_gpu_seconds=50 + left_s),
        "wall_clock": budget(max_wall_clock_s=50 + left_s),
        "deadline": budget(deadline_at=NOW + timedelta(seconds=left_s)),
    }
    for reason, ceiling in at_ceiling.items():
        expected = reason if stops else None
        assert reached(ceiling, used(), cost_gpu_seconds=None) == expected
    assert reached(budget(), used(), cost_gpu_seconds=50 + left_s) == ("cost" if stops else None)


# Another evaluation of 5 s comes before the step.
@pytest.mark.parametrize(("left_s", "reason"), [(14.9, "gpu_seconds"), (15.1, None)])
def test_time_is_kept_back_for_an_evaluation_that_is_due(left_s: float, reason: str | None) -> None:
    ceiling = budget(max_gpu_seconds=50 + left_s)
    assert reached(ceiling, used(evaluation_due=True), cost_gpu_seconds=None) == reason


def test_the_clock_counts_what_earlier_attempts_spent() -> None:
    clock = Clock(Spent(gpu_seconds=100, wall_clock_s=40), started=time.monotonic() - 5, devices=2)
    assert clock.gpu_seconds == pytest.approx(110, abs=0.5)
    assert clock.wall_clock_s == pytest.approx(45, abs=0.5)


def test_a_checkpoint_never_lowers_what_was_spent() -> None:
    clock = Clock(Spent(gpu_seconds=100, wall_clock_s=40), started=time.monotonic())
    clock.count_earlier(gpu_seconds=30, wall_clock_s=60)
    assert clock.gpu_seconds == pytest.approx(100, abs=0.5)
    assert clock.wall_clock_s == pytest.approx(60, abs=0.5)
