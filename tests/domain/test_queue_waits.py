from __future__ import annotations

import pytest

from domain import db, queue_waits, workers
from domain.queue_waits import UNKNOWN, Wait
from domain.tables import Job
from tests import lives
from tests.past_runs import alive, ran

pytestmark = pytest.mark.usefixtures("settings")


def waits(*ahead: int) -> dict[int, tuple[float, float]]:
    with db.read() as session:
        return queue_waits.expected_waits(session, ahead)


def finished(*seconds: float) -> None:
    """Jobs that held a worker for so long."""
    jobs = [ran(steps=1) for _ in seconds]
    with db.transaction() as session:
        for job, held_s in zip(jobs, seconds, strict=True):
            session.get_one(Job, job.id).wall_clock_s = held_s


def test_without_workers_or_history_nothing_is_known() -> None:
    assert waits(0, 1) == {}
    alive()
    lives.training()
    with db.read() as session:
        assert queue_waits.expected(session, ahead=0) == UNKNOWN


def test_free_workers_take_jobs_at_once() -> None:
    alive(name="worker-1")
    alive(name="worker-2")
    lives.training()
    with db.read() as session:
        assert queue_waits.expected(session, ahead=0) == Wait("analytic", 0.0, 0.0)
    assert waits(0, 1) == {0: (0.0, 0.0)}


def test_waits_grow_with_the_jobs_before_and_shrink_with_the_workers() -> None:
    finished(100.0, 100.0, 200.0)
    alive()
    lives.training()
    one = waits(0, 2)
    assert one[0] == pytest.approx((50.0, 90.0))
    assert one[2] == pytest.approx((250.0, 450.0))
    alive(name="worker-2")
    lives.waiting()
    lives.claimed("worker-2")
    assert waits(2)[2] == pytest.approx((125.0, 225.0))


def test_workers_of_other_kinds_do_not_count() -> None:
    with db.transaction() as session:
        workers.beat(session, worker="scorer", hardware="cpu x2", kind="scoring")
    assert waits(0) == {}


def test_jobs_of_lower_priority_are_not_before_a_new_one() -> None:
    for priority in ("high", "normal", "low"):
        lives.waiting(priority=priority)
    with db.read() as session:
        ahead = [queue_waits.ahead_of_new(session, priority=number) for number in (0, 1, 2)]
    assert ahead == [1, 2, 3]
