from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
import redis
from sqlalchemy import select

from domain import db, jobs, queue
from domain.service_tables import Worker
from domain.settings import Settings, get_settings
from domain.tables import Attempt, Job
from tests import factories
from tests.past_runs import alive
from tests.worker.conftest import set_short_times
from tests.worker.stand_in_gpu import path_with_gpu
from tests.worker.waiting import wait_until
from worker import duty, hardware, orphans
from worker.duty import Duty
from worker.workspace import remove_leftovers

TINY = {"budget": {"max_steps": 2}, "labels": {"step_s": "0.01"}}


@pytest.fixture
def project_id(worker_settings: Settings) -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def submit(project_id: UUID, count: int) -> list[UUID]:
    with db.transaction() as session:
        return [factories.job(session, project_id, **TINY).id for _ in range(count)]


def statuses(project_id: UUID, job_ids: list[UUID]) -> list[str]:
    with db.read() as session:
        return [jobs.get(session, project_id=project_id, job_id=j).status for j in job_ids]


def test_one_bell_is_enough_for_all_that_waits(project_id: UUID) -> None:
    job_ids = submit(project_id, 3)
    Duty().work_until_idle(str(job_ids[0]))
    assert statuses(project_id, job_ids) == ["succeeded"] * 3


def test_a_failing_job_does_not_keep_the_worker_from_the_next(
    project_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, max_attempts=1)
    get_settings.cache_clear()
    with db.transaction() as session:
        labels = {"fail_at": "0", "fail_how": "signal:11"}
        bad = factories.job(session, project_id, labels=labels, priority="high").id
    (good,) = submit(project_id, 1)
    Duty().work_until_idle("")
    assert statuses(project_id, [bad, good]) == ["failed", "succeeded"]


def test_a_worker_that_is_to_end_claims_nothing(project_id: UUID) -> None:
    job_ids = submit(project_id, 1)
    duty = Duty()
    duty.end()
    duty.work_until_idle("")
    assert statuses(project_id, job_ids) == ["queued"]


def test_a_bell_without_a_reachable_database_changes_nothing(
    worker_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VADER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    get_settings.cache_clear()
    Duty().work_until_idle("")
    assert "The sweeper will ring again." in caplog.text


def test_a_worker_shows_that_it_lives_until_it_ends(worker_settings: Settings) -> None:
    duty = Duty()

    def seen() -> list[tuple[str, datetime]]:
        with db.read() as session:
            rows = session.scalars(select(Worker)).all()
        return [(row.name, row.last_seen_at) for row in rows]

    duty.begin()
    try:
        wait_until(seen, within_s=10)
        ((name, first),) = seen()
        wait_until(lambda: seen()[0][1] > first, within_s=10)
        threads = [t for t in threading.enumerate() if t.name == "sign-of-life"]
    finally:
        duty.end()
    assert name == duty.worker
    for thread in threads:
        thread.join(10)
    last = seen()
    time.sleep(2 * worker_settings.heartbeat_s)
    assert seen() == last


def test_folders_of_dead_workers_are_removed_and_those_of_living_ones_stay(
    worker_settings: Settings,
) -> None:
    attempts = worker_settings.work_dir / "attempts"
    for name, supervisor in (("dead", "1:0.5"), ("alive", orphans.this_process())):
        (attempts / name).mkdir(parents=True)
        (attempts / name / "supervisor").write_text(supervisor)
    remove_leftovers(worker_settings.work_dir)
    assert [folder.name for folder in attempts.iterdir()] == ["alive"]


def test_a_claim_names_the_machine(project_id: UUID) -> None:
    (job_id,) = submit(project_id, 1)
    Duty().work_until_idle("")
    with db.read() as session:
        attempt = session.get_one(Attempt, (job_id, 1))
    assert "GiB" in attempt.hardware


@pytest.fixture
def small_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine has a GPU of 24 GiB."""
    monkeypatch.setenv("PATH", path_with_gpu(tmp_path / "bin", "NVIDIA L4", gib=24))
    hardware.gpus.cache_clear()
    yield
    hardware.gpus.cache_clear()


def bells(redis_url: str, *names: str) -> list[int]:
    """How many wait for each of these workers alone."""
    queue.forget()
    with redis.Redis.from_url(redis_url) as client:
        return [client.llen(queue.own_queue(name)) for name in names]


def test_a_worker_tells_larger_ones_of_what_it_leaves(
    project_id: UUID, small_gpu: None, redis_url: str
) -> None:
    left, taken = submit(project_id, 2)
    with db.transaction() as session:
        session.get_one(Job, left).least_gib = 80.0
    alive("1 x NVIDIA L40S (48 GiB)", name="middle")
    alive("1 x NVIDIA H200 (141 GiB)", name="large")
    Duty().work_until_idle("")
    assert statuses(project_id, [left, taken]) == ["queued", "succeeded"]
    assert bells(redis_url, "middle", "large") == [0, 1]


def test_it_does_not_tell_them_again_and_again(
    project_id: UUID, small_gpu: None, redis_url: str
) -> None:
    (left,) = submit(project_id, 1)
    with db.transaction() as session:
        session.get_one(Job, left).least_gib = 80.0
    alive("1 x NVIDIA H200 (141 GiB)", name="large")
    worker = Duty()
    for _ in range(5):
        worker.work_until_idle("")
    assert bells(redis_url, "large") == [1]


def test_what_it_did_not_tell_at_once_it_tells_with_a_later_sign_of_life(
    project_id: UUID, small_gpu: None, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duty, "TELL_EVERY_S", 0.5)
    worker = Duty()
    worker.work_until_idle("")
    (left,) = submit(project_id, 1)
    with db.transaction() as session:
        session.get_one(Job, left).least_gib = 80.0
    alive("1 x NVIDIA H200 (141 GiB)", name="large")
    worker.work_until_idle("")
    assert bells(redis_url, "large") == [0]
    worker.begin()
    try:
        wait_until(lambda: bells(redis_url, "large") == [1], within_s=10)
    finally:
        worker.end()
