"""Jobs go to workers whose GPUs hold them, and from one that was too small to a larger one."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from domain import db, jobs, workers
from domain.callers import Origin
from domain.capacity import Need
from domain.settings import get_settings
from tests import factories
from tests.scenarios.stack import START_S, Stack
from tests.worker.conftest import set_short_times
from tests.worker.waiting import wait_until

SMALL, LARGE = "1 x NVIDIA L4 (24 GiB)", "1 x NVIDIA H200 (141 GiB)"


def submit(stack: Stack, need: Need, **labels: str) -> UUID:
    document = {"labels": labels, "budget": {"max_steps": 3}}
    with db.transaction() as session:
        return jobs.create(
            session,
            spec=factories.spec(**document),
            asked_spec=factories.document(**document),
            origin=Origin(project_id=stack.project_id, trace_id=uuid4().hex),
            need=need,
        ).id


def living() -> int:
    with db.read() as session:
        return len(workers.living(session))


def test_a_job_finds_the_worker_that_can_hold_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sweeper: a bell rings once, and a worker that must leave the job passes it on."""
    set_short_times(monkeypatch, hint_age_s=60)
    get_settings.cache_clear()
    stack.worker(gpu=("NVIDIA L4", 24))
    stack.worker(gpu=("NVIDIA H200", 141))
    wait_until(lambda: living() == 2, within_s=START_S, what="workers")
    long = submit(stack, Need(least=80.0), step_s="1")
    wait_until(lambda: stack.job(long).status == "running", within_s=START_S, what="large")
    short = submit(
        stack, Need(least=2.0), fail_at="0", fail_how="error:out_of_memory", fail_attempts="1"
    )
    for job_id in (long, short):
        stack.wait_for(job_id, "succeeded")
    assert [attempt.hardware for attempt in stack.attempts(long)] == [LARGE]
    first, second = stack.attempts(short)
    assert (first.hardware, second.hardware) == (SMALL, LARGE)
    assert (first.outcome, (first.error or {})["code"]) == ("failed", "out_of_memory")
