from __future__ import annotations

from datetime import timedelta

import pytest

from domain import budgets, db
from domain.tables import Attempt, Job
from tests import lives
from tests.trainer_lines import step
from vader_core.spec import Budget

pytestmark = pytest.mark.usefixtures("settings")

ALL = {
    "max_steps": 20,
    "max_reward_queries": 320,
    "max_gpu_seconds": 100,
    "max_wall_clock_s": 1000,
    "max_queue_s": 60,
    "max_cost": {"amount": "1.00", "currency": "USD"},
    "deadline_at": "2030-01-01T00:00:00Z",
}


def usage_of(job: Job, *, later: timedelta = timedelta(0)) -> budgets.Usage:
    with db.read() as session:
        attempt = session.get(Attempt, (job.id, job.attempt))
    return budgets.usage(job, attempt, now=db.utc_now() + later)


def test_all_seven_ceilings_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = lives.training(budget=ALL)
    job = lives.told(claim, *(step(number) for number in range(1, 11)))
    with lives.changed_settings(monkeypatch, gpu_second_price="0.01"):
        usage = usage_of(job, later=timedelta(seconds=250))
    fractions = {name: ceiling.fraction for name, ceiling in usage.ceilings.items()}
    assert fractions["max_steps"] == 0.5
    assert fractions["max_reward_queries"] == 0.25
    assert fractions["max_gpu_seconds"] == 0.2
    assert fractions["max_wall_clock_s"] == pytest.approx(0.25, abs=0.05)
    assert fractions["max_cost"] == pytest.approx(0.2)
    assert 0 < (fractions["deadline_at"] or 0) < 0.01
    assert (fractions["max_queue_s"] or 1) < 1
    assert (usage.next_ceiling, str(usage.cost), usage.currency) == ("max_steps", "0.20", "USD")


def test_what_is_not_limited_has_no_fraction() -> None:
    usage = usage_of(lives.waiting())
    assert usage.ceilings["max_gpu_seconds"].fraction is None
    assert usage.next_ceiling == "max_steps"


def test_a_waiting_job_runs_out_of_queue_time_first() -> None:
    job = lives.waiting(budget=ALL)
    assert usage_of(job, later=timedelta(seconds=30)).next_ceiling == "max_queue_s"


def test_a_job_that_ended_has_no_next_ceiling_and_its_clock_stands_still() -> None:
    job = lives.succeeded(budget=ALL)
    early, late = usage_of(job), usage_of(job, later=timedelta(days=1))
    assert early.next_ceiling is None
    assert early == late


def test_seconds_of_earlier_attempts_count_and_waiting_does_not() -> None:
    claim = lives.training(budget=ALL)
    with db.transaction() as session:
        job = lives.claims.release(session, job_id=claim.job_id, attempt=1, reason="drained")
    spent = usage_of(job, later=timedelta(hours=1)).ceilings["max_wall_clock_s"].used
    assert 0 < spent < 60


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({}, []),
        ({"deadline_at": "2020-01-01T00:00:00Z"}, ["/budget/deadline_at"]),
        ({"deadline_at": "9999-12-31T23:59:59-12:00"}, ["/budget/deadline_at"]),
        (
            {"max_queue_s": 1e300, "max_wall_clock_s": 1e300},
            ["/budget/max_queue_s", "/budget/max_wall_clock_s"],
        ),
        ({"max_gpu_seconds": 1e300}, ["/budget/max_gpu_seconds"]),
        (
            {"max_cost": {"amount": "1e400", "currency": "EUR"}},
            ["/budget/max_cost/amount", "/budget/max_cost/currency"],
        ),
    ],
)
def test_a_budget_beyond_what_can_be_has_faults(
    changes: dict[str, object], pointers: list[str]
) -> None:
    budget = Budget.model_validate({"max_steps": 1, **changes})
    found = budgets.faults(budget, now=db.utc_now())
    assert [fault.pointer for fault in found] == pointers
    assert all(fault.detail for fault in found)
