from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from domain import attempt_ends, claims, db, sweep
from domain.access_tables import UsageEntry
from domain.claims import Claim
from domain.tables import Job
from tests import lives, trainer_lines

pytestmark = pytest.mark.usefixtures("settings")


def failed(claim: Claim, *, step: int) -> Job:
    error = lives.BROKEN.model_copy(update={"step": step})
    with db.transaction() as session:
        holder = {"job_id": claim.job_id, "attempt": claim.attempt}
        return claims.fail_attempt(session, **holder, error=error)


def waits_s(job: Job) -> float:
    return (job.run_after - job.queued_at).total_seconds()


def due_now() -> None:
    with db.transaction() as session:
        session.execute(text("UPDATE jobs SET run_after = clock_timestamp()"))


def test_after_a_failure_the_next_attempt_waits_twice_as_long_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lives.changed_settings(monkeypatch, retry_backoff_s="40", max_attempts="9"):
        claim = lives.training()
        for number, wait_s in enumerate((40, 80, 160, 320, 600, 600), start=1):
            job = failed(claim, step=number)
            assert waits_s(job) == pytest.approx(wait_s, abs=1)
            with db.transaction() as session:
                assert claims.claim(session, worker="w", hardware="cpu") is None
            due_now()
            claim = lives.claimed()
    assert attempt_ends.LONGEST_BACKOFF_S == 600


def test_nobody_is_rung_for_a_job_that_still_waits_and_somebody_once_it_may_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with lives.changed_settings(monkeypatch, retry_backoff_s="40"):
        failed(lives.training(), step=1)
        assert sweep.run_once().hinted == 0
        due_now()
        assert sweep.run_once().hinted == 1
        assert sweep.run_once().hinted == 0


def test_a_lost_or_drained_attempt_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with lives.changed_settings(monkeypatch, retry_backoff_s="40"):
        claim = lives.training()
        with db.transaction() as session:
            job = claims.release(session, job_id=claim.job_id, attempt=1, reason="drained")
        assert waits_s(job) <= 0
        lives.claimed()
        with db.transaction() as session:
            job = claims.lose(session, session.get_one(Job, claim.job_id, with_for_update=True))
        assert waits_s(job) <= 0
        assert lives.claimed().attempt == 3


def test_drained_attempts_between_failures_are_not_charged() -> None:
    claim = lives.training()
    for step in (1, 2):
        failed(claim, step=step)
        claim = lives.claimed()
        with db.transaction() as session:
            holder = {"job_id": claim.job_id, "attempt": claim.attempt}
            claims.release(session, **holder, reason="drained")
        claim = lives.claimed()
    assert failed(claim, step=3).status == "failed"


def held_for(hours: int) -> None:
    """The running attempts began earlier by so much."""
    with db.transaction() as session:
        earlier = "UPDATE attempts SET started_at = started_at - :by WHERE ended_at IS NULL"
        session.execute(text(earlier), {"by": timedelta(hours=hours)})


def in_the_ledger() -> float:
    with db.read() as session:
        return float(session.scalars(select(func.sum(UsageEntry.gpu_seconds))).one())


def test_the_time_before_the_first_step_is_spent_too() -> None:
    claim = lives.training(budget={"max_steps": 20, "max_gpu_seconds": 9000})
    lives.asked_to_pause(claim.job_id)
    held_for(2)
    job = lives.paused(claim)
    assert job.gpu_seconds == pytest.approx(7200, abs=60)
    assert in_the_ledger() == pytest.approx(job.gpu_seconds)
    lives.resumed(job.id)
    again = lives.claimed()
    assert again.spent_gpu_seconds == job.gpu_seconds
    held_for(1)
    ended = failed(again, step=0)
    assert ended.gpu_seconds == pytest.approx(3 * 3600, abs=60)
    assert in_the_ledger() == pytest.approx(ended.gpu_seconds)


def test_what_lines_told_of_is_not_counted_twice() -> None:
    claim = lives.training()
    held_for(1)
    lives.told(claim, trainer_lines.step(1, gpu_seconds=3000.0))
    job = failed(claim, step=1)
    assert job.gpu_seconds == pytest.approx(3600, abs=60)
    assert in_the_ledger() == pytest.approx(job.gpu_seconds)


def test_a_lost_worker_counts_up_to_its_last_heartbeat() -> None:
    claim = lives.training()
    held_for(1)
    with db.transaction() as session:
        beat = "UPDATE attempts SET last_heartbeat_at = started_at + interval '20 minutes'"
        session.execute(text(beat))
        job = claims.lose(session, session.get_one(Job, claim.job_id, with_for_update=True))
    assert job.gpu_seconds == pytest.approx(1200, abs=1)
    assert job.wall_clock_s == pytest.approx(3600, abs=60)


def lost(claim: Claim) -> Job:
    with db.transaction() as session:
        return claims.lose(session, session.get_one(Job, claim.job_id, with_for_update=True))


def test_workers_that_are_lost_after_some_progress_are_not_charged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempt_ends, "MAX_PREEMPTIONS", 4)
    claim = lives.training()
    for number in range(1, 5):
        resumed_from = 5 * (number - 1) or None
        steps = [trainer_lines.step(5 * number - 4), trainer_lines.step(5 * number)]
        lives.told(claim, trainer_lines.started(resumed_from=resumed_from), *steps)
        job = lost(claim)
        assert (job.status, job.preemptions) == ("queued", number)
        claim = lives.claimed()
    lives.told(claim, trainer_lines.started(resumed_from=20), trainer_lines.step(21))
    job = lost(claim)
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "preempted_too_often")


def test_workers_that_are_lost_before_any_progress_are_charged() -> None:
    claim = lives.training()
    for _ in range(2):
        lives.told(claim, trainer_lines.started(resumed_from=5))
        job = lost(claim)
        assert (job.status, job.preemptions) == ("queued", 0)
        claim = lives.claimed()
    assert lost(claim).status == "failed"
