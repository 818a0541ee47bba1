from __future__ import annotations

import pytest

from domain import db, queue_waits, workers
from domain.capacity import UNKNOWN as UNLIMITED
from domain.capacity import Need
from domain.queue_waits import UNKNOWN, Wait
from domain.tables import Job
from tests import lives
from tests.domain.test_waiting_jobs import needing
from tests.past_runs import alive, ran

pytestmark = pytest.mark.usefixtures("settings")


def of_queued(*jobs: Job) -> list[Wait]:
    with db.read() as session:
        seen = queue_waits.look(session, jobs)
    return [queue_waits.of_queued(seen, job) for job in jobs]


def of_new(*, priority: int = 1, need: Need = UNLIMITED) -> Wait:
    with db.read() as session:
        return queue_waits.of_new(session, priority=priority, need=need)


def none_can_hold(least: float | None) -> bool:
    with db.read() as session:
        return queue_waits.no_worker_can_hold(workers.living(session), Need(least))


def finished(*seconds: float) -> None:
    """Jobs that held a worker for so long."""
    jobs = [ran(steps=1) for _ in seconds]
    with db.transaction() as session:
        for job, held_s in zip(jobs, seconds, strict=True):
            session.get_one(Job, job.id).wall_clock_s = held_s


def test_without_workers_or_history_nothing_is_known() -> None:
    assert of_new() == of_queued(lives.waiting())[0] == UNKNOWN
    alive()
    lives.training()
    assert of_new() == UNKNOWN


def test_free_workers_take_jobs_at_once() -> None:
    alive(name="worker-1")
    alive(name="worker-2")
    lives.training()
    assert of_new() == Wait("analytic", 0.0, 0.0)
    assert of_queued(lives.waiting(), lives.waiting()) == [Wait("analytic", 0.0, 0.0), UNKNOWN]


def test_waits_grow_with_the_jobs_before_and_shrink_with_the_workers() -> None:
    finished(100.0, 100.0, 200.0)
    alive()
    lives.training()
    jobs = [lives.waiting() for _ in range(4)]
    first, _, third, _ = of_queued(*jobs)
    assert (first.basis, first.p50, first.p90) == ("measured", 50.0, pytest.approx(90.0))
    assert (third.p50, third.p90) == (250.0, pytest.approx(450.0))
    assert of_queued(jobs[2]) == [third]
    alive(name="worker-2")
    lives.claimed("worker-2")
    first_gone, *_, last = of_queued(*jobs)
    assert first_gone == UNKNOWN
    assert (last.p50, last.p90) == (125.0, pytest.approx(225.0))


def test_workers_of_other_kinds_do_not_count() -> None:
    with db.transaction() as session:
        workers.beat(session, worker="scorer", hardware="cpu x2", kind="scoring")
    assert of_new() == UNKNOWN


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
    assert of_new().p50 == 0.0
    assert of_new(need=Need(least=80.0)).p50 == 50.0
    assert of_new(need=Need(least=20.0, peak=80.0)).p50 == 50.0
    assert of_new(need=Need(least=200.0)) == UNKNOWN


def test_jobs_that_only_other_workers_take_are_not_before_it() -> None:
    finished(100.0, 100.0, 100.0)
    alive("1 x NVIDIA L4 (24 GiB)", name="small")
    alive("1 x NVIDIA H200 (141 GiB)", name="worker-1")
    lives.training()
    for least, peak in ((80.0, None), (None, 90.0), (80.0, 90.0)):
        needing(least, peak)
    little = Need(10.0, 20.0)
    assert of_new(need=little) == Wait("analytic", 0.0, 0.0)
    assert of_new(need=Need(80.0)).p50 == 350.0
    one, other = needing(10.0, 20.0), needing(10.0, 20.0)
    # The small worker takes the first; for the second it is at half of its job when both are busy.
    assert [wait.p50 for wait in of_queued(one, other)] == [0.0, 50.0]
    with db.transaction() as session:
        session.get_one(Job, one.id).peak_gib = 90.0
    assert of_queued(other) == [Wait("analytic", 0.0, 0.0)]


def test_a_free_worker_without_a_gpu_does_not_wait_for_jobs_of_gpus() -> None:
    finished(100.0, 100.0, 100.0)
    alive("1 x NVIDIA H200 (141 GiB)", name="worker-1")
    alive(name="cpu")
    lives.training()
    needing(80.0)
    needing(80.0)
    assert of_new() == Wait("analytic", 0.0, 0.0)
    assert of_new(need=Need(80.0)).p50 == 250.0


def test_nobody_waits_for_jobs_that_no_worker_can_hold() -> None:
    finished(100.0, 100.0, 100.0)
    alive("1 x NVIDIA L4 (24 GiB)", name="worker-1")
    stuck = lives.waiting(priority="high")
    with db.transaction() as session:
        session.get_one(Job, stuck.id).least_gib = 80.0
    assert of_new().p50 == 0.0
    assert of_queued(lives.waiting()) == [Wait("analytic", 0.0, 0.0)]
    assert of_queued(lives.now(stuck.id)) == [UNKNOWN]
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
