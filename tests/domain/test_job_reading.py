from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from domain import best_checkpoint, db, job_reading, quotas
from domain.errors import NotFound
from domain.job_list import JobFilters, list_jobs
from domain.job_reading import Seen, Tag
from domain.reads import Reads
from domain.service_tables import Worker
from domain.tables import Job
from tests import factories, lives, trainer_lines
from tests.domain.test_waiting_jobs import needing
from tests.past_runs import alive
from tests.reads import reading

pytestmark = pytest.mark.usefixtures("settings")


def listed(project_id: UUID) -> list[Seen]:
    async def read(reads: Reads) -> list[Seen]:
        page = await list_jobs(
            reads, project_id=project_id, filters=JobFilters(), cursor=None, limit=20
        )
        return page.items

    return reading(read, tenant=project_id)


def seen(job: Job) -> Seen:
    """The job by itself, which must be the same in all ways of reading it."""
    with db.read() as session:
        alone = job_reading.one(session, project_id=job.project_id, job_id=job.id)
    polled, specs = reading(
        lambda reads: job_reading.look(reads, project_id=job.project_id, job_id=job.id),
        tenant=job.project_id,
    )
    assert [json.loads(spec) for spec in specs] == [alone.job.asked_spec, alone.job.spec]
    (in_list,) = [item for item in listed(job.project_id) if item.job.id == job.id]
    for other in (polled, in_list):
        assert (other.maker, other.best) == (alone.maker, alone.best)
        assert (other.queued is None) == (alone.queued is None)
        if other.queued and alone.queued:
            assert (other.queued.place, other.queued.reason) == (
                alone.queued.place,
                alone.queued.reason,
            )
        for name in ("status", "version", "budget", "labels", "created_at", "latest_metrics"):
            assert getattr(other.job, name) == getattr(alone.job, name)
        assert (other.attempt is None) == (alone.attempt is None)
        if other.attempt and alone.attempt:
            assert other.attempt.last_heartbeat_at == alone.attempt.last_heartbeat_at
    return alone


def test_the_place_in_the_queue_counts_priority_before_age_over_all_projects() -> None:
    older, high, newer = lives.waiting(), lives.waiting(priority="high"), lives.waiting()
    places = [seen(job).queued for job in (high, older, newer)]
    assert [queued.place for queued in places if queued] == [1, 2, 3]
    assert lives.claimed().job_id == high.id
    assert seen(high).queued is None
    with db.read() as session:
        tag = job_reading.tag_of(session, project_id=newer.project_id, job_id=newer.id)
    assert tag == Tag("queued", 1, newer.version, 2, "no_free_gpu")


def test_the_tag_tells_when_the_reason_changes() -> None:
    def tags() -> list[Tag]:
        wanted = {"project_id": job.project_id, "job_id": job.id}
        with db.read() as session:
            alone = job_reading.tag_of(session, **wanted)
        return [
            alone,
            reading(lambda reads: job_reading.look_at_tag(reads, **wanted), tenant=job.project_id),
        ]

    alive("1 x NVIDIA L4 (24 GiB)", name="small")
    alive("1 x NVIDIA H200 (141 GiB)", name="worker-1")
    job = needing(80.0)
    assert tags() == 2 * [Tag("queued", 1, job.version, 1, "no_free_gpu")]
    with db.transaction() as session:
        session.delete(session.get_one(Worker, "worker-1"))
    assert tags() == 2 * [Tag("queued", 1, job.version, 1, "no_fitting_gpu")]
    assert (queued := seen(job).queued) is not None
    assert queued.reason == "no_fitting_gpu"
    alive("1 x NVIDIA H200 (141 GiB)", name="worker-1")
    lives.claimed(hardware="1 x NVIDIA H200 (141 GiB)")
    assert tags() == 2 * [Tag("starting", 1, lives.now(job.id).version, None, None)]


def test_a_tenant_of_the_database_sees_its_place_behind_other_projects() -> None:
    lives.waiting(priority="high")
    mine = lives.waiting()
    token = db.tenant.set(mine.project_id)
    try:
        with db.read() as session:
            alone = job_reading.one(session, project_id=mine.project_id, job_id=mine.id)
        (in_list,) = listed(mine.project_id)
    finally:
        db.tenant.reset(token)
    assert alone.queued is not None
    assert in_list.queued is not None
    assert (alone.queued.place, in_list.queued.place) == (2, 2)


def test_why_a_job_waits_is_told() -> None:
    job = lives.waiting()
    assert (queued := seen(job).queued) is not None
    assert queued.reason == "no_free_gpu"
    with db.transaction() as session:
        quotas.set_limits(session, job.project_id, running_jobs=0)
    assert (queued := seen(job).queued) is not None
    assert (queued.reason, queued.eta_at) == ("project_concurrency", None)
    with db.transaction() as session:
        quotas.set_limits(session, job.project_id, running_jobs=5, gpu_seconds_a_month=0)
        later = text("UPDATE jobs SET run_after = clock_timestamp() + interval '1 min'")
        session.execute(later)
    assert (queued := seen(job).queued) is not None
    assert queued.reason == "backoff"


def test_a_quota_holds_a_job_back_until_there_is_room() -> None:
    with db.transaction() as session:
        project_id = factories.project(session).id
        quotas.set_limits(session, project_id, running_jobs=1)
        for _ in range(2):
            factories.job(session, project_id)
    first = lives.claimed()
    with db.transaction() as session:
        assert lives.claims.claim(session, worker="w2", hardware="cpu") is None
    lives.cancel(first.job_id)
    lives.ended(first, lives.Status.CANCELLED)
    assert lives.claimed("w2").job_id != first.job_id


def test_who_made_it_and_which_attempt_is_current_come_along() -> None:
    claim = lives.training()
    with db.transaction() as session:
        job = session.get_one(Job, claim.job_id)
        factories.key(session, job.project_id)
        session.flush()
        key = text("UPDATE jobs SET created_by_key_id = (SELECT id FROM api_keys LIMIT 1)")
        session.execute(key)
    found = seen(lives.now(claim.job_id))
    assert found.maker == "test"
    assert found.attempt is not None
    assert found.attempt.number == 1


def test_the_best_checkpoint_is_that_of_the_best_evaluation_at_its_step() -> None:
    claim = lives.training()
    job = lives.now(claim.job_id)
    assert seen(job).best is None
    lives.checkpointed(claim, [5, 10, 15, 20])
    assert (best := seen(job).best) is not None
    assert best[1] == 20
    for number, reward in ((5, 0.5), (10, 0.8), (15, 0.6)):
        line = trainer_lines.evaluation(kind="periodic", reward=reward)
        lives.told(claim, line.model_copy(update={"step": number}))
    lives.told(claim, trainer_lines.evaluation(reward=0.9))
    assert (best := seen(job).best) is not None
    assert best[1] == 10
    with db.read() as session:
        row = best_checkpoint.best(session, job_id=job.id)
    assert row is not None
    assert (row.id, row.step) == best
    with db.transaction() as session:
        session.execute(text("UPDATE checkpoints SET expired_at = now() WHERE step = 10"))
    assert (best := seen(job).best) is not None
    assert best[1] == 15


def test_another_projects_job_is_not_found() -> None:
    job = lives.waiting()
    with db.read() as session:
        for read in (job_reading.one, job_reading.tag_of):
            with pytest.raises(NotFound, match="in this project"):
                read(session, project_id=uuid4(), job_id=job.id)


def test_a_lists_queued_jobs_get_their_places_at_once() -> None:
    with db.transaction() as session:
        project_id = factories.project(session).id
        for _ in range(4):
            factories.job(session, project_id)
    found = listed(project_id)
    assert [item.queued.place for item in found if item.queued] == [4, 3, 2, 1]
    soon = db.utc_now() - timedelta(seconds=1)
    assert all(i.queued and (i.queued.eta_at is None or i.queued.eta_at > soon) for i in found)
