from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import text

from domain import claims, db, events, sweep
from domain.errors import EtagMismatch, InvalidTransition, ValidationFailed
from domain.tables import Event, Job
from tests import lives
from tests.trainer_lines import step

pytestmark = pytest.mark.usefixtures("settings")

LIMITED = {
    "max_steps": 20,
    "max_reward_queries": 200,
    "max_gpu_seconds": 40,
    "max_cost": {"amount": "5.00", "currency": "USD"},
}


def newest_event(job: Job) -> Event:
    with db.read() as session:
        return events.list_after(session, job_id=job.id, limit=1000)[-1]


def faults(job: Job, **document: JsonValue) -> dict[str, str]:
    before = lives.now(job.id)
    with pytest.raises(ValidationFailed) as refused:
        lives.patched(job.id, **document)
    after = lives.now(job.id)
    assert (after.version, after.revision, after.budget) == (
        before.version,
        before.revision,
        before.budget,
    )
    return {fault.pointer: fault.code for fault in refused.value.faults}


def test_name_labels_and_priority_change_as_a_merge_patch() -> None:
    job = lives.waiting(name="old", labels={"team": "ads", "ticket": "1"})
    changed = lives.patched(
        job.id, name="new", priority="high", labels={"ticket": None, "stage": "two"}
    )
    assert (changed.name, changed.priority) == ("new", 0)
    assert changed.labels == {"team": "ads", "stage": "two"}
    assert (changed.version, changed.revision) == (job.version + 1, job.revision + 1)
    event = newest_event(job)
    assert (event.type, event.data) == ("job.changed", {"fields": ["labels", "name", "priority"]})


def test_a_raised_budget_is_in_force_and_reaches_the_worker() -> None:
    claim = lives.training(budget=LIMITED)
    job = lives.patched(claim.job_id, budget={"max_gpu_seconds": 90, "max_steps": 50})
    assert (job.budget["max_gpu_seconds"], job.steps_total) == (90, 50)
    assert job.budget["max_reward_queries"] == 200
    assert lives.now(job.id).spec["budget"]["max_gpu_seconds"] == 40
    with db.transaction() as session:
        beat = claims.heartbeat(session, job_id=claim.job_id, attempt=claim.attempt)
    assert (beat.budget.max_gpu_seconds, beat.budget.max_steps) == (90, 50)
    event = newest_event(job)
    assert event.type == "job.budget_changed"
    assert event.data["changes"] == [
        {"ceiling": "max_steps", "from": 20, "to": 50},
        {"ceiling": "max_gpu_seconds", "from": 40, "to": 90},
    ]
    assert "max_gpu_seconds from 40.0 to 90.0" in event.message


def test_null_takes_a_ceiling_away() -> None:
    job = lives.waiting(budget={**LIMITED, "deadline_at": "2030-01-01T00:00:00Z"})
    changed = lives.patched(job.id, budget={"deadline_at": None, "max_cost": None})
    assert (changed.deadline_at, changed.budget["max_cost"]) == (None, None)


def test_no_ceiling_can_be_set_below_what_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = lives.training(budget=LIMITED)
    job = lives.told(claim, *(step(number) for number in range(1, 11)))
    with lives.changed_settings(monkeypatch, gpu_second_price="0.1"):
        found = faults(
            job,
            budget={
                "max_steps": 9,
                "max_reward_queries": 79,
                "max_gpu_seconds": 19.5,
                "max_wall_clock_s": 1e-3,
                "max_cost": {"amount": "1.99"},
            },
        )
    assert found == {
        "/budget/max_steps": "below_spent",
        "/budget/max_reward_queries": "below_spent",
        "/budget/max_gpu_seconds": "below_spent",
        "/budget/max_wall_clock_s": "below_spent",
        "/budget/max_cost/amount": "below_spent",
    }
    lowered = lives.patched(job.id, budget={"max_steps": 10, "max_reward_queries": 80})
    assert lowered.budget["max_steps"] == 10


def test_all_faults_are_told_at_once() -> None:
    claim = lives.training(budget=LIMITED)
    job = lives.told(claim, *(step(number) for number in range(1, 11)))
    assert faults(
        job,
        name=7,
        nme="typo",
        labels={"team": 3},
        priority="urgent",
        budget={
            "max_steps": 3,
            "max_gpu_seconds": -1,
            "max_reward_querys": 10,
            "deadline_at": "2020-01-01T00:00:00Z",
            "max_cost": {"amount": "9", "currency": "EUR"},
        },
    ) == {
        "/name": "string_type",
        "/nme": "unknown_field",
        "/labels/team": "string_type",
        "/priority": "literal_error",
        "/budget/max_steps": "below_spent",
        "/budget/max_gpu_seconds": "greater_than_equal",
        "/budget/max_reward_querys": "unknown_field",
        "/budget/deadline_at": "in_the_past",
        "/budget/max_cost/currency": "not_in_set",
    }


@pytest.mark.parametrize("document", [[], "budget", None, 3])
def test_a_patch_is_an_object(document: JsonValue) -> None:
    job = lives.waiting()
    with pytest.raises(ValidationFailed), db.transaction() as session:
        lives.job_patch.patch(
            session, project_id=job.project_id, job_id=job.id, document=document, seen=None
        )


def test_steps_cannot_be_unlimited() -> None:
    assert faults(lives.waiting(), budget={"max_steps": None}) == {"/budget/max_steps": "int_type"}


def test_a_change_that_somebody_else_made_meanwhile_is_not_overwritten() -> None:
    claim = lives.training()
    seen = {lives.now(claim.job_id).revision}
    lives.told(claim, step(1))
    lives.patched(claim.job_id, seen, name="mine")
    with pytest.raises(EtagMismatch):
        lives.patched(claim.job_id, seen, name="theirs")
    assert lives.now(claim.job_id).name == "mine"


def test_what_changes_nothing_leaves_the_job_as_it_was() -> None:
    job = lives.waiting(name="same", budget=LIMITED)
    unchanged = lives.patched(job.id, name="same", budget={"max_gpu_seconds": 40})
    assert (unchanged.version, unchanged.revision) == (job.version, job.revision)


@pytest.mark.parametrize("end", ["finalizing", "succeeded"])
def test_a_job_at_its_end_cannot_be_changed(end: str) -> None:
    job_id = lives.finalizing().job_id if end == "finalizing" else lives.succeeded().id
    with pytest.raises(InvalidTransition, match="until it is finalised"):
        lives.patched(job_id, name="late")


def test_after_a_raise_it_warns_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def warnings(job: Job) -> list[Any]:
        with db.read() as session:
            types = ["job.budget_warning"]
            found = events.list_after(session, job_id=job.id, types=types)
        return [event.data["limit"] for event in found]

    claim = lives.training(budget={"max_steps": 20, "max_gpu_seconds": 10})
    job = lives.told(claim, *(step(number) for number in range(1, 5)))
    assert warnings(job) == [10]
    raised = lives.patched(job.id, budget={"max_gpu_seconds": 20})
    assert raised.warned_ceilings == []
    lives.told(claim, *(step(number) for number in range(5, 9)))
    assert warnings(job) == [10, 20]


def test_a_raise_that_is_still_close_warns_no_second_time() -> None:
    claim = lives.training(budget={"max_steps": 20, "max_gpu_seconds": 10})
    job = lives.told(claim, *(step(number) for number in range(1, 6)))
    assert lives.patched(job.id, budget={"max_gpu_seconds": 11}).warned_ceilings == [
        "max_gpu_seconds"
    ]


def test_the_time_in_the_queue_can_be_prolonged_while_it_waits() -> None:
    job = lives.waiting(budget={"max_steps": 5, "max_queue_s": 60})
    assert job.queue_expires_at is not None
    changed = lives.patched(job.id, budget={"max_queue_s": 3600})
    assert changed.queue_expires_at is not None
    assert (changed.queue_expires_at - job.queue_expires_at).total_seconds() == pytest.approx(3540)


def test_the_time_in_the_queue_begins_anew_for_one_that_was_paused_before_it_began() -> None:
    job = lives.waiting()
    lives.asked_to_pause(job.id)
    with db.transaction() as session:
        ago = "clock_timestamp() - interval '3 days'"
        session.execute(text(f"UPDATE jobs SET created_at = {ago}, queued_at = {ago}"))
    assert lives.patched(job.id, budget={"max_queue_s": 3600}).budget["max_queue_s"] == 3600
    resumed = lives.resumed(job.id)
    assert resumed.queue_expires_at is not None
    changed = lives.patched(job.id, budget={"max_queue_s": 7200})
    assert changed.queue_expires_at is not None
    waits_s = (changed.queue_expires_at - changed.queued_at).total_seconds()
    assert waits_s == pytest.approx(7200)
    assert sweep.run_once().failed == 0


def test_a_deadline_that_has_passed_is_only_judged_when_it_is_given() -> None:
    job = lives.waiting(budget={"max_steps": 5, "deadline_at": "2030-01-01T00:00:00Z"})
    with db.transaction() as session:
        stored = session.get_one(Job, job.id)
        stored.budget = {**stored.budget, "deadline_at": "2020-01-01T00:00:00Z"}
    assert lives.patched(job.id, budget={"max_steps": 6}).steps_total == 6
