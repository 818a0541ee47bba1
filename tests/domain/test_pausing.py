from __future__ import annotations

import pytest
from pydantic import JsonValue
from sqlalchemy import text

from domain import artifacts, claims, db, events, sweep
from domain.errors import CeilingReached, InvalidTransition
from domain.job_errors import JobError
from domain.job_status import Status
from domain.tables import Attempt, Job
from tests import lives, trainer_lines

pytestmark = pytest.mark.usefixtures("settings")

AT_CEILING = {"max_steps": 20, "max_gpu_seconds": 30, "on_exhausted": "pause"}


def event_types(job: Job) -> list[str]:
    with db.read() as session:
        return [event.type for event in events.list_after(session, job_id=job.id)]


def expire(job: Job) -> None:
    with db.transaction() as session:
        passed = text("UPDATE jobs SET paused_expires_at = clock_timestamp() WHERE id = :id")
        session.execute(passed, {"id": job.id})


def test_a_queued_job_is_paused_at_once_and_no_worker_gets_it() -> None:
    job = lives.asked_to_pause(lives.waiting().id)
    assert (job.status, job.pause_reason) == ("paused", "requested")
    assert job.paused_expires_at is not None
    with db.transaction() as session:
        assert claims.claim(session, worker="w", hardware="cpu") is None


def test_a_running_job_pauses_when_its_worker_has_heard_of_it() -> None:
    claim = lives.training()
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    assert lives.asked_to_pause(claim.job_id).status == "pausing"
    with db.transaction() as session:
        assert claims.heartbeat(session, **holder).pause_requested
    lives.checkpointed(claim)
    job = lives.paused(claim)
    assert (job.status, job.owner, job.lease_until) == ("paused", None, None)
    with db.read() as session:
        attempt = session.get_one(Attempt, (claim.job_id, claim.attempt))
    assert (attempt.outcome, attempt.ended_at is not None) == ("paused", True)
    assert event_types(job)[-2:] == ["job.checkpoint_saved", "job.paused"]


def test_pausing_again_changes_nothing() -> None:
    claim = lives.training()
    version = lives.asked_to_pause(claim.job_id).version
    assert lives.asked_to_pause(claim.job_id).version == version
    version = lives.paused(claim).version
    assert lives.asked_to_pause(claim.job_id).version == version


def test_a_job_that_is_being_finalised_cannot_be_paused() -> None:
    claim = lives.finalizing()
    with pytest.raises(InvalidTransition, match="'queued', 'starting' and 'running'") as refused:
        lives.asked_to_pause(claim.job_id)
    assert refused.value.extra == {"current_status": "finalizing", "allowed_actions": ["cancel"]}


def test_a_trainer_that_was_at_its_end_when_asked_to_pause_still_ends() -> None:
    claim = lives.training()
    lives.asked_to_pause(claim.job_id)
    lives.told(claim, trainer_lines.done())
    assert lives.now(claim.job_id).status == "finalizing"


def test_pauses_are_not_charged_as_attempts_and_counters_go_on() -> None:
    claim = lives.training()
    for number in range(1, 6):
        lives.told(claim, trainer_lines.started(), trainer_lines.step(number))
        lives.asked_to_pause(claim.job_id)
        spent = lives.paused(claim)
        assert spent.gpu_seconds == 2 * number
        assert lives.resumed(claim.job_id).status == "queued"
        claim = lives.claimed()
        assert claim.spent_gpu_seconds == 2 * number
        assert claim.spent_wall_clock_s > 0
    with db.transaction() as session:
        holder = {"job_id": claim.job_id, "attempt": claim.attempt}
        assert claims.fail_attempt(session, **holder, error=lives.BROKEN).status == "queued"


def test_a_resumed_job_says_so_and_its_time_in_the_queue_begins_anew() -> None:
    waiting = lives.waiting(budget={"max_steps": 5, "max_queue_s": 60})
    lives.asked_to_pause(waiting.id)
    with db.transaction() as session:
        session.execute(text("UPDATE jobs SET queue_expires_at = clock_timestamp()"))
    assert sweep.run_once().failed == 0
    job = lives.resumed(waiting.id)
    assert (job.pause_reason, job.paused_expires_at, job.pause_requested_at) == (None, None, None)
    assert job.queue_expires_at is not None
    assert job.queue_expires_at > db.utc_now()
    assert event_types(job)[-2:] == ["job.paused", "job.resumed"]
    assert lives.resumed(job.id).version == job.version
    assert lives.claimed().job_id == job.id


def test_only_a_paused_job_can_be_resumed() -> None:
    claim = lives.training()
    with pytest.raises(InvalidTransition, match="Only a paused job"):
        lives.resumed(claim.job_id)


def test_at_a_ceiling_it_pauses_and_goes_on_only_after_that_is_raised() -> None:
    claim = lives.training(budget=AT_CEILING)
    lives.told(claim, *(trainer_lines.step(number) for number in range(1, 13)))
    job = lives.paused(claim, reason="gpu_seconds")
    assert (job.status, job.pause_reason) == ("paused", "gpu_seconds")
    assert event_types(job)[-3:] == ["job.budget_exhausted", "job.pausing", "job.paused"]
    with pytest.raises(CeilingReached, match="max_gpu_seconds") as refused:
        lives.resumed(job.id)
    assert refused.value.extra == {"ceilings": ["max_gpu_seconds"]}
    lives.patched(job.id, budget={"max_gpu_seconds": 25})
    with pytest.raises(CeilingReached):
        lives.resumed(job.id)
    assert lives.patched(job.id, budget={"max_gpu_seconds": 60}).pause_reason == "budget_raised"
    assert lives.resumed(job.id).status == "queued"
    assert lives.claimed().budget.max_gpu_seconds == 60


@pytest.mark.parametrize("change", [{"max_gpu_seconds": 300}, {"max_gpu_seconds": None}])
def test_more_room_given_while_it_stops_at_its_ceiling_lets_it_go_on(
    change: dict[str, JsonValue],
) -> None:
    claim = lives.training(budget=AT_CEILING)
    lives.told(claim, trainer_lines.step(1))
    lives.checkpointed(claim)
    lives.patched(claim.job_id, budget=change)
    job = lives.paused(claim, reason="gpu_seconds")
    assert (job.status, job.pause_reason, job.preemptions) == ("queued", None, 0)
    assert "job.budget_exhausted" not in event_types(job)
    assert lives.claimed().budget.max_gpu_seconds == change["max_gpu_seconds"]


def test_more_room_does_not_undo_a_pause_that_somebody_asked_for() -> None:
    claim = lives.training(budget=AT_CEILING)
    lives.asked_to_pause(claim.job_id)
    lives.patched(claim.job_id, budget={"max_gpu_seconds": 300})
    job = lives.paused(claim, reason="gpu_seconds")
    assert (job.status, job.pause_reason) == ("paused", "requested")
    assert lives.resumed(job.id).status == "queued"


def test_a_lowered_ceiling_still_pauses_it() -> None:
    claim = lives.training(budget=AT_CEILING)
    lives.patched(claim.job_id, budget={"max_gpu_seconds": 20})
    assert lives.paused(claim, reason="gpu_seconds").pause_reason == "gpu_seconds"


def test_a_ceiling_at_which_it_paused_can_be_taken_away_and_set_again() -> None:
    claim = lives.training(budget=AT_CEILING)
    job = lives.paused(claim, reason="gpu_seconds")
    assert lives.patched(job.id, budget={"max_gpu_seconds": None}).pause_reason == "budget_raised"
    assert lives.patched(job.id, budget={"max_gpu_seconds": 99}).budget["max_gpu_seconds"] == 99
    assert lives.resumed(job.id).status == "queued"


def test_a_job_that_may_finish_at_its_ceiling_can_be_resumed_for_that() -> None:
    claim = lives.training(budget=AT_CEILING)
    job = lives.paused(claim, reason="gpu_seconds")
    lives.patched(job.id, budget={"on_exhausted": "finish"})
    assert lives.resumed(job.id).status == "queued"


def test_a_ceiling_that_was_passed_while_it_was_paused_holds_it_too() -> None:
    claim = lives.training(budget=AT_CEILING)
    lives.told(claim, *(trainer_lines.step(number) for number in range(1, 16)))
    lives.asked_to_pause(claim.job_id)
    lives.paused(claim)
    with pytest.raises(CeilingReached, match="max_gpu_seconds"):
        lives.resumed(claim.job_id)


def test_cancelling_a_paused_job_ends_it_at_once_with_its_newest_checkpoint() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10, 20])
    lives.asked_to_pause(claim.job_id)
    lives.paused(claim)
    job = lives.cancel(claim.job_id)
    assert (job.status, job.stop_reason) == ("cancelled", "cancelled")
    with db.read() as session:
        adapter = artifacts.adapter_of(session, job_id=job.id)
    assert adapter is not None
    assert adapter.step == 20


def test_a_cancel_that_came_before_the_pause_wins() -> None:
    claim = lives.training()
    lives.asked_to_pause(claim.job_id)
    lives.cancel(claim.job_id)
    assert lives.paused(claim).status == "cancelled"


@pytest.mark.parametrize("end", ["released", "failed", "lost"])
def test_a_pausing_job_is_paused_however_its_attempt_ends(end: str) -> None:
    claim = lives.training()
    lives.asked_to_pause(claim.job_id)
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    with db.transaction() as session:
        if end == "released":
            job = claims.release(session, **holder, reason="drained")
        elif end == "failed":
            job = claims.fail_attempt(session, **holder, error=lives.BROKEN)
        else:
            job = claims.lose(session, session.get_one(Job, claim.job_id, with_for_update=True))
    assert (job.status, job.pause_reason) == ("paused", "requested")
    with db.read() as session:
        assert session.get_one(Attempt, (claim.job_id, 1)).outcome == end


def test_a_pausing_job_fails_where_no_attempt_can_help() -> None:
    claim = lives.training()
    lives.asked_to_pause(claim.job_id)
    hopeless = JobError(code="out_of_memory", message="Too big.", retryable=False)
    with db.transaction() as session:
        holder = {"job_id": claim.job_id, "attempt": claim.attempt}
        assert claims.fail_attempt(session, **holder, error=hopeless).status == "failed"


def test_what_nobody_resumes_is_ended_with_its_newest_checkpoint() -> None:
    claim = lives.training()
    lives.checkpointed(claim, [10])
    lives.asked_to_pause(claim.job_id)
    expire(lives.paused(claim))
    assert sweep.run_once().succeeded == 1
    job = lives.now(claim.job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "paused_expired")
    assert job.finished_at is not None
    assert job.adapter_id is not None


def test_what_was_paused_at_a_ceiling_ends_with_that_as_its_reason() -> None:
    claim = lives.training(budget=AT_CEILING)
    lives.checkpointed(claim, [10])
    expire(lives.paused(claim, reason="gpu_seconds"))
    sweep.run_once()
    assert lives.now(claim.job_id).stop_reason == "gpu_seconds"


def test_what_nobody_resumes_and_has_no_checkpoint_fails() -> None:
    job = lives.asked_to_pause(lives.waiting().id)
    expire(job)
    assert sweep.run_once().failed == 1
    ended = lives.now(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == (Status.FAILED, "pause_expired")
