from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.worker.specs import a_claim, small_spec
from vader_core.present_budget import Ceilings
from vader_core.spec import Budget
from worker.limits import Patience, passed_ceiling

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_patience_is_the_minimum_until_steps_are_long() -> None:
    patience = Patience(600)
    assert patience.seconds == 600
    patience.saw_step(1)
    assert patience.seconds == 600
    for _ in range(3):
        patience.saw_step(100)
    assert patience.seconds == 20 * 100


def test_one_slow_step_does_not_change_patience() -> None:
    patience = Patience(1)
    for seconds in [1, 1, 1, 1000]:
        patience.saw_step(seconds)
    assert patience.seconds == 20


@pytest.mark.parametrize(
    ("budget", "spent", "elapsed_s", "passed"),
    [
        ({}, {}, 1e9, None),
        ({"max_gpu_seconds": 100}, {}, 99, None),
        ({"max_gpu_seconds": 100}, {}, 100, "gpu_seconds"),
        ({"max_gpu_seconds": 100}, {"spent_gpu_seconds": 60.0}, 40, "gpu_seconds"),
        ({"max_wall_clock_s": 100}, {"spent_wall_clock_s": 60.0}, 39, None),
        ({"max_wall_clock_s": 100}, {"spent_wall_clock_s": 60.0}, 40, "wall_clock"),
        ({}, {"cost_gpu_seconds": 50.0, "spent_gpu_seconds": 20.0}, 30, "cost"),
        ({"deadline_at": NOW + timedelta(seconds=1)}, {}, 0, None),
        ({"deadline_at": NOW}, {}, 0, "deadline"),
    ],
)
def test_a_time_ceiling_is_passed_when_what_all_attempts_used_reaches_it(
    budget: dict[str, Any], spent: dict[str, float], elapsed_s: float, passed: str | None
) -> None:
    claim = a_claim(small_spec(), **spent)
    ceilings = Ceilings(
        budget=Budget(max_steps=6, **budget), cost_gpu_seconds=claim.cost_gpu_seconds
    )
    assert passed_ceiling(claim, ceilings, elapsed_s=elapsed_s, now=NOW) == passed
