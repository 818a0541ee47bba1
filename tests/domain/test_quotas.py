"""Quotas: what refuses new work, what keeps it waiting, and how stored bytes are counted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from domain import (
    claims,
    db,
    idempotency,
    job_deletion,
    promotion,
    prompt_sets,
    quotas,
    templates,
    usage,
)
from domain.access_tables import UsageEntry
from domain.callers import Origin
from domain.errors import ProjectQuotaExhausted
from domain.ids import new_id
from domain.job_status import Status
from domain.settings import Settings
from domain.tables import Checkpoint, Job, Sample
from domain.templates import Content, Found
from domain.upload_table import Upload
from tests import factories, lives
from vader_core.spec import Prompt

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def limit(project_id: UUID, **limits: int | None) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, project_id, **limits)


def spend(project_id: UUID, gpu_seconds: float) -> None:
    with db.transaction() as session:
        usage.add(
            session,
            project_id=project_id,
            kind="training",
            subject_id=new_id(),
            base_model="tiny-unet@1",
            gpu_seconds=gpu_seconds,
        )


def refused(project_id: UUID) -> ProjectQuotaExhausted:
    with pytest.raises(ProjectQuotaExhausted) as found, db.transaction() as session:
        quotas.check_new_job(session, project_id)
    return found.value


def claimed(worker: str = "w") -> UUID | None:
    with db.transaction() as session:
        claim = claims.claim(session, worker=worker, hardware="cpu")
    return None if claim is None else claim.job_id


def test_limits_are_the_settings_until_a_project_has_its_own(project_id: UUID) -> None:
    with db.transaction() as session:
        assert quotas.limits(session, project_id).queued_jobs == 1000
        own = quotas.set_limits(session, project_id, queued_jobs=3, running_jobs=0)
        assert (own.queued_jobs, own.running_jobs, own.storage_bytes) == (3, 0, None)
        assert quotas.set_limits(session, project_id, queued_jobs=None).queued_jobs == 1000
        assert quotas.limits(session, project_id).running_jobs == 0


def test_a_full_queue_refuses_more_jobs(project_id: UUID) -> None:
    limit(project_id, queued_jobs=2)
    for _ in range(2):
        with db.transaction() as session:
            quotas.check_new_job(session, project_id)
            factories.job(session, project_id)
    refusal = refused(project_id)
    assert refusal.extra == {"quota": "queued_jobs", "limit": 2, "used": 2, "resets_at": None}
    claimed()
    with db.transaction() as session:
        quotas.check_new_job(session, project_id)


def test_two_at_once_cannot_both_take_the_last_place(project_id: UUID) -> None:
    limit(project_id, queued_jobs=1)
    taken: list[str] = []
    begun = threading.Event()

    def take(name: str) -> None:
        try:
            with db.transaction() as session:
                quotas.check_new_job(session, project_id)
                begun.set()
                factories.job(session, project_id)
            taken.append(name)
        except ProjectQuotaExhausted:
            taken.append("refused")

    with db.transaction() as session:
        quotas.check_new_job(session, project_id)
        other = threading.Thread(target=take, args=("second",))
        other.start()
        assert not begun.wait(0.2)
        factories.job(session, project_id)
    other.join()
    assert taken == ["refused"]


def test_spent_gpu_seconds_refuse_new_jobs_until_the_month_ends(project_id: UUID) -> None:
    limit(project_id, gpu_seconds_a_month=100)
    spend(project_id, 99.5)
    with db.transaction() as session:
        quotas.check_new_job(session, project_id)
    spend(project_id, 0.5)
    refusal = refused(project_id)
    assert (refusal.extra["quota"], refusal.extra["used"]) == ("gpu_seconds_a_month", 100)
    resets_at = datetime.fromisoformat(str(refusal.extra["resets_at"]))
    assert resets_at > datetime.now(UTC)
    assert (resets_at.day, resets_at.hour) == (1, 0)


def test_what_was_spent_in_other_months_does_not_count(project_id: UUID) -> None:
    limit(project_id, gpu_seconds_a_month=1)
    spend(project_id, 50)
    with db.transaction() as session:
        entry = session.scalars(select(UsageEntry)).one()
        entry.day = entry.day.replace(year=entry.day.year - 1)
    with db.transaction() as session:
        assert quotas.state(session, project_id)["gpu_seconds_a_month"].used == 0
        quotas.check_new_job(session, project_id)


def test_running_jobs_keep_the_next_ones_waiting_and_no_other_project(project_id: UUID) -> None:
    limit(project_id, running_jobs=1)
    with db.transaction() as session:
        mine = [factories.job(session, project_id).id for _ in range(2)]
        other = factories.job(session, factories.project(session).id).id
    assert claimed() == mine[0]
    with db.read() as session:
        assert quotas.waiting_reason(session, project_id) == "project_concurrency"
    assert claimed() == other
    assert claimed() is None
    limit(project_id, running_jobs=2)
    assert claimed() == mine[1]


def test_no_room_at_all_starts_nothing(project_id: UUID) -> None:
    limit(project_id, running_jobs=0)
    with db.transaction() as session:
        factories.job(session, project_id)
    assert claimed() is None


def test_claims_at_once_do_not_pass_the_limit_together(project_id: UUID) -> None:
    limit(project_id, running_jobs=1)
    with db.transaction() as session:
        for _ in range(4):
            factories.job(session, project_id)
    found: list[UUID | None] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(claimed(f"w{n}"))) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(job is not None for job in found) == 1


def test_spent_gpu_seconds_keep_queued_jobs_waiting(project_id: UUID) -> None:
    limit(project_id, gpu_seconds_a_month=10)
    with db.transaction() as session:
        job = factories.job(session, project_id).id
    spend(project_id, 10)
    assert claimed() is None
    with db.read() as session:
        assert quotas.waiting_reason(session, project_id) == "quota"
    limit(project_id, gpu_seconds_a_month=11)
    assert claimed() == job


def stored(project_id: UUID) -> float:
    with db.read() as session:
        return quotas.state(session, project_id)["storage_bytes"].used


def test_stored_bytes_come_and_go_with_the_rows(project_id: UUID) -> None:
    with db.transaction() as session:
        job = factories.job(session, project_id)
        upload = Upload(
            id=new_id(),
            project_id=project_id,
            name="a.png",
            content_type="image/png",
            key="k",
            sha256="0" * 64,
            size_bytes=1000,
        )
        checkpoint = Checkpoint(
            id=new_id(),
            job_id=job.id,
            attempt=1,
            step=1,
            prefix="p",
            files=[],
            size_bytes=200,
            counters={},
        )
        sample = Sample(
            id=new_id(),
            job_id=job.id,
            attempt=1,
            step=1,
            role="base",
            pair="p",
            prompt_id="p",
            prompt="p",
            seed=1,
            score=0.5,
            key="s",
            sha256="1" * 64,
            size_bytes=30,
        )
        session.add_all([upload, checkpoint, sample])
    assert stored(project_id) == 1230
    with db.transaction() as session:
        session.get_one(Checkpoint, checkpoint.id).expired_at = db.utc_now()
        session.delete(session.get_one(Upload, upload.id))
    assert stored(project_id) == 30
    with db.transaction() as session:
        gone = update(Job).where(Job.id == job.id).values(deleted_at=db.utc_now())
        session.execute(gone)
    assert stored(project_id) == 0


def test_adapters_made_of_a_checkpoint_count_once_and_when_it_is_given_up() -> None:
    job = lives.training()
    lives.checkpointed(job, (10, 20))
    before = stored(job.project_id)
    with db.read() as session:
        kept = {row.step: row for row in session.scalars(select(Checkpoint))}
    where = {"project_id": job.project_id, "job_id": job.job_id}
    with db.transaction() as session:
        adapter, _ = promotion.promote(session, **where, checkpoint_id=kept[20].id)
    assert (adapter.size_bytes > 0, stored(job.project_id)) == (True, before)
    # Its final adapter is that of the same checkpoint.
    lives.cancel(job.job_id)
    lives.ended(job, Status.CANCELLED)
    assert stored(job.project_id) == before
    with db.transaction() as session:
        for row in kept.values():
            session.get_one(Checkpoint, row.id).expired_at = db.utc_now()
    assert stored(job.project_id) == adapter.size_bytes
    with db.transaction() as session:
        job_deletion.delete(session, **where)
    assert stored(job.project_id) == 0


def test_prompt_sets_are_stored_until_they_are_deleted(project_id: UUID) -> None:
    with db.transaction() as session:
        made = factories.prompt_set(session, project_id, [Prompt(prompt="a red circle")])
    assert stored(project_id) == made.size_bytes > 0
    with db.transaction() as session:
        prompt_sets.delete(session, project_id=project_id, prompt_set_id=made.id)
    assert stored(project_id) == 0


def test_full_storage_refuses_uploads_and_jobs(project_id: UUID) -> None:
    limit(project_id, storage_bytes=0)
    assert refused(project_id).extra["quota"] == "storage_bytes"
    with pytest.raises(ProjectQuotaExhausted), db.transaction() as session:
        quotas.check_storage(session, project_id)


def test_generations_count_by_the_month(project_id: UUID) -> None:
    limit(project_id, generations_a_month=0)
    with pytest.raises(ProjectQuotaExhausted) as refusal, db.transaction() as session:
        quotas.check_new_generation(session, project_id)
    assert refusal.value.extra["quota"] == "generations_a_month"
    limit(project_id, generations_a_month=1)
    with db.transaction() as session:
        quotas.check_new_generation(session, project_id)


def test_spent_gpu_seconds_refuse_every_kind_of_work_that_takes_them(project_id: UUID) -> None:
    limit(project_id, gpu_seconds_a_month=10)
    spend(project_id, 10)
    for check in (
        quotas.check_new_job,
        quotas.check_new_generation,
        quotas.check_new_scoring,
    ):
        with pytest.raises(ProjectQuotaExhausted) as refusal, db.transaction() as session:
            check(session, project_id)
        assert refusal.value.extra["quota"] == "gpu_seconds_a_month"


def test_archived_templates_make_room_but_their_versions_stay(project_id: UUID) -> None:
    limit(project_id, templates=1, template_versions=3)

    def make(name: str) -> Found:
        origin = Origin(project_id=project_id, trace_id="")
        with db.transaction() as session:
            return templates.create(session, origin=origin, content=Content(name, "", {}))

    def held(session: Session, made: Found) -> Found:
        template_id = made.template.id
        return templates.held(session, project_id=project_id, template_id=template_id)

    def refused(name: str) -> str:
        with pytest.raises(ProjectQuotaExhausted) as refusal:
            make(name)
        return str(refusal.value.extra["quota"])

    first = make("first")
    assert refused("second") == "templates"
    with db.transaction() as session:
        templates.archive(session, held(session, first))
    second = make("second")
    origin, changed = Origin(project_id=project_id, trace_id=""), Content("second", "2", {})
    with db.transaction() as session:
        templates.change(session, held(session, second), origin=origin, content=changed)
        templates.change(session, held(session, second), origin=origin, content=changed)
        state = quotas.state(session, project_id)
        assert (state["templates"].used, state["template_versions"].used) == (1, 3)
        again = Content("second", "3", {})
        with pytest.raises(ProjectQuotaExhausted, match="3 of 3 template_versions"):
            templates.change(session, held(session, second), origin=origin, content=again)
    limit(project_id, templates=2)
    assert refused("third") == "template_versions"


def test_the_state_names_every_quota(project_id: UUID, settings: Settings) -> None:
    with db.transaction() as session:
        factories.job(session, project_id)
        found = quotas.state(session, project_id)
    assert tuple(found) == quotas.NAMES
    assert (found["queued_jobs"].used, found["queued_jobs"].left) == (1, 999)
    assert found["running_jobs"].left is None
    assert found["running_jobs"].limit == settings.quota_running_jobs


def test_a_claim_under_way_is_not_waited_for(project_id: UUID) -> None:
    limit(project_id, running_jobs=5)
    with db.transaction() as session:
        for _ in range(2):
            factories.job(session, project_id)
    with db.transaction() as session:
        assert quotas.has_room(session, project_id)
        assert claimed() is None
    assert claimed() is not None


def test_a_project_without_limits_needs_no_turn(project_id: UUID) -> None:
    with db.transaction() as one, db.transaction() as two:
        assert quotas.has_room(one, project_id)
        assert quotas.has_room(two, project_id)


@pytest.mark.parametrize("key", ["quota claim", "quota create"])
def test_no_idempotency_key_is_the_lock_of_a_quota(project_id: UUID, key: str) -> None:
    limit(project_id, running_jobs=5)
    with db.transaction() as client:
        assert idempotency.begin(client, project_id=project_id, key=key, fingerprint="f") is None
        with db.transaction() as session:
            session.execute(text("SET LOCAL lock_timeout = '1s'"))
            quotas.check_new_job(session, project_id)
            assert quotas.has_room(session, project_id)
