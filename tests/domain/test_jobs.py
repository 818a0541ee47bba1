from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from domain import artifacts, db, events, jobs
from domain.errors import InvalidTransition, NotFound, StaleAttempt, ValidationFailed
from domain.job_status import Status
from domain.tables import Job
from tests import lives

pytestmark = pytest.mark.usefixtures("settings")


def event_types(job: Job) -> list[str]:
    with db.read() as session:
        return [event.type for event in events.list_after(session, job_id=job.id)]


def test_a_created_job_is_queued_with_its_spec_and_two_events() -> None:
    job = lives.waiting(name="mine", labels={"team": "ads"}, priority="high")
    found = lives.now(job.id)
    assert (found.status, found.phase, found.attempt) == ("queued", "queued", 0)
    assert (found.name, found.labels, found.priority) == ("mine", {"team": "ads"}, 0)
    assert found.spec["base_model"] == "tiny-unet@1"
    assert found.asked_spec["base_model"] == "tiny-unet"
    assert found.steps_total == 20
    assert event_types(job) == ["job.created", "job.queued"]


def test_another_projects_job_is_not_found() -> None:
    job = lives.waiting()
    with db.read() as session, pytest.raises(NotFound, match="in this project"):
        jobs.get(session, project_id=uuid4(), job_id=job.id)


def test_a_budget_that_cannot_hold_creates_nothing() -> None:
    budget = {
        "max_steps": 1,
        "deadline_at": "2020-01-01T00:00:00Z",
        "max_queue_s": 1e300,
        "max_cost": {"amount": "1", "currency": "EUR"},
    }
    with pytest.raises(ValidationFailed) as refused:
        lives.waiting(budget=budget)
    assert {fault.pointer: fault.code for fault in refused.value.faults} == {
        "/budget/max_queue_s": "out_of_range",
        "/budget/deadline_at": "in_the_past",
        "/budget/max_cost/currency": "not_in_set",
    }
    with db.read() as session:
        assert session.query(Job).count() == 0


def test_a_move_writes_the_event_of_the_new_status_and_a_new_version() -> None:
    job = lives.waiting()
    claim = lives.claimed()
    moved = lives.now(job.id)
    assert moved.status == "starting"
    assert moved.version > job.version
    with db.read() as session:
        event = events.list_after(session, job_id=job.id)[-1]
    assert (event.type, event.attempt) == ("job.started", claim.attempt)
    assert event.data["status"] == "starting"


def test_a_move_that_the_table_does_not_allow_changes_nothing() -> None:
    job = lives.waiting()
    with pytest.raises(InvalidTransition) as refused, db.transaction() as session:
        jobs.move(session, job.id, to=Status.SUCCEEDED)
    actions = ["cancel", "pause", "patch"]
    assert refused.value.extra == {"current_status": "queued", "allowed_actions": actions}
    assert lives.now(job.id).version == job.version
    assert event_types(job) == ["job.created", "job.queued"]


def test_a_move_by_an_attempt_without_the_lease_is_refused() -> None:
    lives.waiting()
    claim = lives.claimed()
    with pytest.raises(StaleAttempt), db.transaction() as session:
        jobs.move(session, claim.job_id, to=Status.RUNNING, attempt=claim.attempt + 1)
    assert lives.now(claim.job_id).status == "starting"


@pytest.mark.parametrize("status", ["queued", "running", "failed"])
def test_the_database_itself_keeps_a_terminal_status(status: str) -> None:
    job = lives.succeeded()
    statement = text("UPDATE jobs SET status = :status WHERE id = :id")
    with pytest.raises(IntegrityError, match="never changes"), db.transaction() as session:
        session.execute(statement, {"status": status, "id": job.id})


def test_a_queued_job_is_cancelled_at_once() -> None:
    job = lives.cancel(lives.waiting().id)
    assert (job.status, job.stop_reason) == ("cancelled", "cancelled")
    assert job.finished_at is not None
    assert event_types(job)[2:] == ["job.cancel_requested", "job.cancelled"]


def test_a_held_job_waits_for_its_worker_to_cancel() -> None:
    claim = lives.training()
    assert lives.cancel(claim.job_id).status == "cancelling"
    assert lives.ended(claim, Status.CANCELLED).status == "cancelled"


def test_cancelling_again_changes_nothing() -> None:
    claim = lives.training()
    first = lives.cancel(claim.job_id)
    assert lives.cancel(claim.job_id, keep_adapter=False).version == first.version
    ended = lives.ended(claim, Status.CANCELLED)
    assert lives.cancel(claim.job_id).version == ended.version


def test_a_job_that_succeeded_cannot_be_cancelled() -> None:
    job = lives.succeeded()
    with pytest.raises(InvalidTransition) as refused:
        lives.cancel(job.id)
    actions = ["extend", "delete"]
    assert refused.value.extra == {"current_status": "succeeded", "allowed_actions": actions}


def test_a_cancelled_job_keeps_what_its_newest_checkpoint_holds() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10, 20])
    lives.cancel(claim.job_id)
    job = lives.ended(claim, Status.CANCELLED)
    assert job.adapter_id is not None
    with db.read() as session:
        adapter = artifacts.adapter_of(session, job_id=job.id)
    assert adapter is not None
    assert adapter.step == 20
    assert adapter.prefix.endswith("checkpoints/step-000020/adapter")
    assert [file["path"] for file in adapter.files] == ["adapter_model.safetensors"]


def test_a_cancelled_job_keeps_nothing_when_that_was_asked() -> None:
    claim = lives.training()
    lives.checkpointed(claim)
    lives.cancel(claim.job_id, keep_adapter=False)
    assert lives.ended(claim, Status.CANCELLED).adapter_id is None
