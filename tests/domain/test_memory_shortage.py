from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from domain import claims, db, successors, sweep
from domain.callers import Origin
from domain.claims import Claim
from domain.errors import DoesNotFitGpu
from domain.events import Event
from domain.job_errors import JobError
from domain.service_tables import Worker
from domain.tables import Attempt, Job
from tests import lives, trainer_lines
from tests.past_runs import alive

pytestmark = pytest.mark.usefixtures("settings")

SMALL, MIDDLE, LARGE, HUGE = (
    f"1 x NVIDIA {name} ({gib} GiB)"
    for name, gib in (("L4", 24), ("L40S", 48), ("H100", 80), ("H200", 141))
)
CPU = "CPU, 2 cores, 16 GiB"
MIXED = f"{SMALL}, {MIDDLE}"
SHORT = JobError(
    code="out_of_memory",
    message="Memory is used up.",
    hint="Use a smaller batch size.",
    fault="user",
    retryable=False,
)


def ran_out(claim: Claim) -> Job:
    """The job after its trainer ran out of memory at its start."""
    with db.transaction() as session:
        holder = {"job_id": claim.job_id, "attempt": claim.attempt}
        return claims.fail_attempt(session, **holder, error=SHORT)


def broke(claim: Claim, *, code: str = "internal") -> Job:
    """The job after its trainer failed in another way."""
    with db.transaction() as session:
        holder = {"job_id": claim.job_id, "attempt": claim.attempt}
        return claims.fail_attempt(
            session, **holder, error=JobError(code=code, message="It broke.")
        )


def started(hardware: str) -> Claim:
    """The claim of a worker with this hardware on the next job, whose trainer is up."""
    claim = lives.claimed(hardware=hardware)
    lives.told(claim, trainer_lines.started(), trainer_lines.phase("training"))
    return claim


def claims_nothing(hardware: str) -> bool:
    with db.transaction() as session:
        return claims.claim(session, worker="w", hardware=hardware) is None


def test_a_job_goes_on_at_once_where_a_gpu_has_more() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    lives.waiting()
    job = ran_out(started(SMALL))
    assert (job.status, job.least_gib, job.error) == ("queued", 25.0, None)
    assert job.run_after <= job.queued_at
    assert claims_nothing(SMALL)
    assert lives.claimed(hardware=LARGE).attempt == 2


def test_its_events_and_its_attempt_tell_why() -> None:
    alive(LARGE)
    lives.waiting()
    job = ran_out(started(SMALL))
    with db.read() as session:
        events = select(Event).where(Event.job_id == job.id).order_by(Event.seq.desc()).limit(2)
        again, failed = session.scalars(events)
        attempt = session.get_one(Attempt, (job.id, 1))
    why = "Use a smaller batch size. A worker is there with the 25 GiB on one GPU that it needs."
    assert (again.type, again.message) == ("job.queued", why)
    assert (failed.type, failed.message) == ("job.attempt_failed", SHORT.message)
    assert (failed.data["error"]["hint"], failed.data["error"]["retryable"]) == (why, True)
    assert (attempt.outcome, (attempt.error or {})["code"]) == ("failed", "out_of_memory")


def test_every_kind_of_gpu_is_tried_without_using_up_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for hardware in (SMALL, MIDDLE, LARGE, HUGE):
        alive(hardware, name=hardware)
    lives.waiting()
    with lives.changed_settings(monkeypatch, max_attempts="2", retry_backoff_s="0"):
        assert ran_out(started(SMALL)).least_gib == 25.0
        assert ran_out(started(MIDDLE)).least_gib == 49.0
        assert ran_out(started(LARGE)).least_gib == 81.0
        assert broke(started(HUGE)).status == "queued"
        job = ran_out(started(HUGE))
    assert (job.status, job.least_gib) == ("failed", 142.0)
    assert job.error is not None
    assert not job.error["retryable"]


def test_on_gpus_of_several_kinds_it_uses_up_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    alive(LARGE)
    job = lives.waiting()
    with db.transaction() as session:
        session.get_one(Job, job.id).least_gib = 80.0
    with lives.changed_settings(monkeypatch, max_attempts="2"):
        assert ran_out(started(MIXED)).status == "queued"
        job = ran_out(started(MIXED))
    assert (job.status, job.least_gib) == ("failed", 80.0)


def test_a_shortage_of_the_machine_says_nothing_of_gpus() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    lives.waiting()
    job = broke(started(SMALL), code="host_out_of_memory")
    assert (job.status, job.least_gib) == ("queued", None)


def test_without_a_larger_gpu_it_is_final_and_says_so() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    alive(CPU, name="cpu")
    lives.waiting()
    job = ran_out(started(LARGE))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["hint"] == (
        "Use a smaller batch size. No worker that is there has the 81 GiB on one GPU that it needs."
    )
    assert not job.error["retryable"]


def test_where_the_memory_is_not_known_it_is_final_as_it_was_told() -> None:
    alive(LARGE)
    lives.waiting()
    job = ran_out(started(CPU))
    assert (job.status, job.least_gib) == ("failed", None)
    assert job.error is not None
    assert job.error["hint"] == SHORT.hint


def test_a_job_that_is_pausing_needs_more_when_it_is_resumed() -> None:
    alive(LARGE)
    lives.waiting()
    claim = started(SMALL)
    lives.asked_to_pause(claim.job_id)
    assert ran_out(claim).status == "paused"
    lives.resumed(claim.job_id)
    assert claims_nothing(SMALL)
    assert lives.claimed(hardware=LARGE).job_id == claim.job_id


def test_a_retry_knows_what_was_learnt() -> None:
    alive(LARGE)
    lives.waiting()
    claim = started(LARGE)
    lives.checkpointed(claim)
    job = ran_out(claim)
    with pytest.raises(DoesNotFitGpu) as refused:
        retried(job)
    assert refused.value.extra["needs_gib"] == 81.0
    alive(HUGE, name="huge")
    made = retried(job)
    assert made.least_gib == 81.0
    assert claims_nothing(LARGE)
    assert lives.claimed(hardware=HUGE).job_id == made.id


def retried(job: Job) -> Job:
    with db.transaction() as session:
        source = session.get_one(Job, job.id)
        origin = Origin(project_id=job.project_id, trace_id="")
        return successors.retry(session, source, origin=origin)


def without(*workers: str) -> None:
    """Workers that are gone for good."""
    with db.transaction() as session:
        for name in workers:
            session.delete(session.get_one(Worker, name))


def queued_since(job: Job, **ago: float) -> None:
    with db.transaction() as session:
        session.get_one(Job, job.id).queued_at = db.utc_now() - timedelta(**ago)


def left_without_a_large_worker(**budget: float) -> Job:
    """A job that a small worker had too little memory for, and whose only large worker is gone."""
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    lives.waiting(budget={"max_steps": 20, **budget})
    job = ran_out(started(SMALL))
    without("large")
    return job


@pytest.mark.parametrize("budget", [{}, {"max_queue_s": 3600}])
def test_a_job_whose_only_large_worker_left_ends(budget: dict[str, float]) -> None:
    job = left_without_a_large_worker(**budget)
    queued_since(job, minutes=59)
    assert sweep.run_once().failed == 0
    queued_since(job, hours=24, seconds=1)
    assert sweep.run_once().failed == 1
    ended = lives.now(job.id)
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "queue_expired")
    assert "needs 25.0 GiB on one GPU" in ended.error["message"]


def test_max_queue_s_sets_how_long_it_waits_for_a_large_worker() -> None:
    job = left_without_a_large_worker(max_queue_s=3600)
    queued_since(job, minutes=61)
    assert sweep.run_once().failed == 1
    assert lives.now(job.id).status == "failed"


def test_a_large_worker_that_was_there_lately_is_waited_for() -> None:
    job = left_without_a_large_worker()
    alive(LARGE, name="gone")
    queued_since(job, days=3)
    with db.transaction() as session:
        session.get_one(Worker, "gone").last_seen_at = db.utc_now() - timedelta(hours=23)
    assert sweep.run_once().failed == 0
    with db.transaction() as session:
        session.get_one(Worker, "gone").last_seen_at = db.utc_now() - timedelta(hours=25)
    assert sweep.run_once().failed == 1


def test_while_no_worker_at_all_is_there_it_waits() -> None:
    job = left_without_a_large_worker()
    without("small")
    queued_since(job, days=3)
    assert sweep.run_once().failed == 0


def test_a_worker_without_a_gpu_may_hold_it() -> None:
    job = left_without_a_large_worker()
    alive(CPU, name="cpu")
    queued_since(job, days=3)
    assert sweep.run_once().failed == 0
    assert lives.claimed(hardware=CPU).job_id == job.id
