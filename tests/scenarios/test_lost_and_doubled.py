"""Jobs survive what happens around them: a dying API, a flushed Redis, doubled hints, a killed worker.

Numbered as in the list of scenarios that the service must survive.
"""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import func, select

from domain import db, queue
from domain.ids import from_public
from domain.tables import Job
from tests.scenarios.stack import END_S, Stack
from tests.worker.waiting import wait_until

SMALL = {"budget": {"max_steps": 3}, "labels": {"step_s": "0.02"}}


def count_jobs(stack: Stack) -> int:
    with db.read() as session:
        jobs = select(func.count()).select_from(Job).where(Job.project_id == stack.project_id)
        return session.scalars(jobs).one()


def falling_api(stack: Stack, moment: str) -> str:
    return stack.api(module=("-m", "tests.scenarios.falling_api", moment))


def test_1_an_api_that_dies_between_commit_and_bell_loses_no_job(stack: Stack) -> None:
    stack.worker(wait=False)
    stack.sweeper()
    url = falling_api(stack, "after_commit")
    with pytest.raises(httpx.TransportError):
        stack.post_job(url, key="once", **SMALL)
    assert count_jobs(stack) == 1
    retried = stack.post_job(stack.api(), key="once", **SMALL)
    assert retried.status_code == 202
    job_id = from_public("job", retried.json()["id"])
    assert count_jobs(stack) == 1
    job = stack.wait_for(job_id, "succeeded")
    assert job.attempt == 1


def test_2_an_api_that_dies_before_the_commit_leaves_nothing(stack: Stack) -> None:
    url = falling_api(stack, "before_commit")
    with pytest.raises(httpx.TransportError):
        stack.post_job(url, key="once", **SMALL)
    assert count_jobs(stack) == 0
    retried = stack.post_job(stack.api(), key="once", **SMALL)
    assert retried.status_code == 202
    assert count_jobs(stack) == 1


def test_4_a_flushed_redis_loses_no_job(stack: Stack) -> None:
    stack.worker()
    running = stack.submit(budget={"max_steps": 60}, labels={"step_s": "0.05"})
    wait_until(lambda: stack.job(running).step >= 1, within_s=END_S)
    waiting = [stack.submit(**SMALL) for _ in range(10)]
    stack.flush_redis()
    stack.sweeper()
    for job_id in [running, *waiting]:
        job = stack.wait_for(job_id, "succeeded")
        assert job.attempt == 1


def test_7_one_hint_delivered_ten_times_to_four_workers_is_one_run(stack: Stack) -> None:
    for _ in range(3):
        stack.worker(wait=False)
    stack.worker()
    job_id = stack.submit(budget={"max_steps": 20}, labels={"step_s": "0.1"})
    for _ in range(9):
        queue.ring(job_id)
    stack.wait_for(job_id, "succeeded")
    wait_until(lambda: stack.waiting_hints() == 0, within_s=END_S)
    assert stack.job(job_id).attempt == 1
    assert [attempt.outcome for attempt in stack.attempts(job_id)] == ["succeeded"]
