from __future__ import annotations

import pytest
from sqlalchemy import text

from domain import attempt_ends, claims, db, sweep
from domain.claims import Claim
from domain.tables import Job
from tests import lives

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
