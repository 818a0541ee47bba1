from __future__ import annotations

import pytest

from domain import db, queue_waits, workers
from domain.capacity import UNKNOWN as UNLIMITED
from domain.capacity import Need
from domain.ids import new_id
from domain.queue_waits import UNKNOWN, Wait
from domain.tables import Job
from tests import lives
from tests.past_runs import alive, ran

pytestmark = pytest.mark.usefixtures("settings")


def waits(*ahead: int, need: Need = UNLIMITED) -> dict[int, tuple[float, float]]:
    """Those that are known of jobs made now, by the number of jobs before."""
    now = {"priority": 1, "created_at": db.utc_now(), "id": new_id()}
    job = Job(**now, least_gib=need.least, peak_gib=need.peak)
    with db.read() as session:
        seen = queue_waits.look(session)
    found = {number: queue_waits.of_queued(seen, job, place=number + 1) for number in ahead}
    return {
        number: (wait.p50, wait.p90)
        for number, wait in found.items()
        if wait.p50 is not None and wait.p90 is not None
    }


def of_new(*, priority: int = 1, need: Need = UNLIMITED) -> Wait:
    with db.read() as session:
        return queue_waits.of_new(session, priority=priority, need=need)


def none_can_hold(least: float | None) -> bool:
    with db.read() as session:
        seen = queue_waits.look(session)
    return queue_waits.no_worker_can_hold(seen, Job(least_gib=least))


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
    assert of_new() == UNKNOWN


def test_free_workers_take_jobs_at_once() -> None:
    alive(name="worker-1")
    alive(name="worker-2")
    lives.training()
    assert of_new() == Wait("analytic", 0.0, 0.0)
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
    finished(100.0, 100.0, 100.0)
    alive()
    for priority in ("high", "normal", "low"):
        lives.waiting(priority=priority)
    medians = [of_new(priority=number).p50 for number in (0, 1, 2)]
    # The worker is free: the first job before takes it, half a job is the rest of its time.
    assert medians == [50.0, 150.0, 250.0]


def test_workers_that_would_not_take_the_job_do_not_count() -> None:
    finished(100.0, 100.0, 200.0)
    alive("1 x NVIDIA L4 (24 GiB)", name="small")
    alive("1 x NVIDIA H200 (141 GiB)", name="worker-1")
    lives.training()
    assert waits(0) == {0: (0.0, 0.0)}
    assert waits(0, need=Need(least=80.0))[0] == pytest.approx((50.0, 90.0))
    assert waits(0, need=Need(least=20.0, peak=80.0))[0] == pytest.approx((50.0, 90.0))
    assert waits(0, need=Need(least=200.0)) == {}


def test_nobody_waits_for_jobs_that_no_worker_can_hold() -> None:
    finished(100.0, 100.0, 100.0)
    alive("1 x NVIDIA L4 (24 GiB)", name="worker-1")
    stuck = lives.waiting(priority="high")
    with db.transaction() as session:
        session.get_one(Job, stuck.id).least_gib = 80.0
    assert of_new().p50 == 0.0
    assert waits(1) == {1: (0.0, 0.0)}
    lives.waiting()
    assert of_new().p50 == 50.0
    alive(name="cpu")
    # It may take the job that was stuck, so that both workers have one before the next.
    assert of_new().p50 == 25.0


def test_only_where_workers_are_there_can_none_hold_a_job() -> None:
    assert not none_can_hold(80.0)
    alive("1 x NVIDIA L4 (24 GiB)", name="small")
    assert none_can_hold(80.0)
    assert not none_can_hold(20.0)
    assert not none_can_hold(None)
    alive(name="cpu")
    assert not none_can_hold(80.0)
