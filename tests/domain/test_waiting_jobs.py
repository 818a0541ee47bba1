from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from domain import claims, db, jobs, waiting_jobs
from domain.callers import Origin
from domain.capacity import Need, taken_by, takers
from domain.job_status import Status
from domain.service_tables import Worker
from domain.tables import Job
from tests import factories, lives
from tests.past_runs import alive

pytestmark = pytest.mark.usefixtures("settings")

SMALL, LARGE = "1 x NVIDIA L4 (24 GiB)", "1 x NVIDIA H200 (141 GiB)"
CPU = "CPU, 2 cores, 16 GiB"
MIXED = "1 x NVIDIA L4 (24 GiB), 1 x NVIDIA L40S (48 GiB)"


def needing(least: float | None, peak: float | None = None) -> Job:
    """A queued job of a project of its own that needs so many GiB."""
    with db.transaction() as session:
        return jobs.create(
            session,
            spec=factories.spec(),
            asked_spec={},
            origin=Origin(project_id=factories.project(session).id, trace_id=""),
            need=Need(least, peak),
        )


def claims_nothing(hardware: str) -> bool:
    with db.transaction() as session:
        return claims.claim(session, worker="w", hardware=hardware) is None


def told(hardware: str) -> list[str]:
    """Who hears of what a worker with this hardware leaves."""
    with db.read() as session:
        return waiting_jobs.takers_of_left(session, hardware=hardware)


def test_a_worker_passes_over_what_its_gpu_cannot_hold() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    big, unknown, little = needing(80.0), needing(None), needing(20.0)
    assert [lives.claimed(hardware=SMALL).job_id for _ in range(2)] == [unknown.id, little.id]
    assert claims_nothing(SMALL)
    assert lives.claimed(hardware=LARGE).job_id == big.id


def test_a_large_worker_takes_small_jobs_in_their_turn() -> None:
    alive(LARGE)
    first, second = needing(20.0), needing(80.0)
    assert [lives.claimed(hardware=LARGE).job_id for _ in range(2)] == [first.id, second.id]


def test_an_estimate_that_no_worker_has_keeps_a_job_only_from_the_smaller_ones() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    job = needing(20.0, peak=200.0)
    assert claims_nothing(SMALL)
    with db.transaction() as session:
        session.delete(session.get_one(Worker, "large"))
    assert lives.claimed(hardware=SMALL).job_id == job.id


def test_without_gpus_workers_take_everything() -> None:
    alive(CPU)
    jobs = [needing(80.0, peak=90.0), needing(None)]
    assert [lives.claimed(hardware=CPU).job_id for _ in range(2)] == [job.id for job in jobs]


def test_who_can_take_what_a_small_worker_leaves_is_told() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    alive(CPU, name="cpu")
    needing(20.0)
    needing(None)
    assert told(SMALL) == []
    needing(80.0)
    assert told(SMALL) == ["large"]
    assert (told(LARGE), told(CPU)) == ([], ["large", "small"])
    needing(200.0)
    assert told(LARGE) == ["cpu"]
    assert told(MIXED) == []


def test_a_busy_worker_is_not_told() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    needing(80.0)
    claim = lives.claimed("large", hardware=LARGE)
    needing(80.0)
    assert told(SMALL) == []
    lives.ended(claim, Status.FAILED, error=lives.BROKEN)
    assert told(SMALL) == ["large"]


def test_a_worker_without_a_gpu_leaves_what_a_gpu_holds() -> None:
    alive(CPU, name="cpu")
    alive(SMALL, name="small")
    held, large = needing(20.0), needing(80.0)
    assert lives.claimed(hardware=CPU).job_id == large.id
    assert claims_nothing(CPU)
    assert lives.claimed(hardware=SMALL).job_id == held.id


def test_nobody_is_told_of_a_job_that_may_not_start_yet() -> None:
    alive(LARGE, name="large")
    job = needing(80.0)
    assert told(SMALL) == ["large"]
    with db.transaction() as session:
        session.get_one(Job, job.id).run_after += timedelta(minutes=1)
    assert told(SMALL) == []


def test_the_query_takes_what_the_rule_says() -> None:
    """The rule of `capacity` stands in SQL, too."""
    needs = [Need(least, peak) for least in (None, 20.0, 80.0) for peak in (None, 90.0, 200.0)]
    made = {needing(need.least, need.peak).id: need for need in needs}
    for others in ([], [SMALL], [SMALL, LARGE]):
        living = [Worker(name=text, hardware=text) for text in others]
        for hardware in (SMALL, LARGE, CPU, MIXED):
            one = Worker(name="one", hardware=hardware)
            rule = taken_by(hardware, [one, *living])
            query = select(Job.id) if rule is None else select(Job.id).where(rule)
            with db.read() as session:
                taken = set(session.scalars(query))
            by_rule = {
                job_id for job_id, need in made.items() if one in takers(need, [one, *living])
            }
            assert taken == by_rule
