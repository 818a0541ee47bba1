from __future__ import annotations

import pytest
from sqlalchemy import select

from domain import claims, db, queue_waits, successors
from domain.callers import Origin
from domain.claims import Claim
from domain.events import Event
from domain.job_errors import JobError
from domain.tables import Attempt, Job
from tests import lives, trainer_lines
from tests.past_runs import alive

pytestmark = pytest.mark.usefixtures("settings")

SMALL, MIDDLE, LARGE, HUGE = (
    f"1 x NVIDIA {name} ({gib} GiB)"
    for name, gib in (("L4", 24), ("L40S", 48), ("H100", 80), ("H200", 141))
)
CPU = "CPU, 2 cores, 16 GiB"
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
    why = "24 GiB on one GPU are too few for it; a worker with more is there."
    assert (again.type, again.message) == ("job.queued", why)
    assert (failed.type, failed.message) == ("job.attempt_failed", SHORT.message)
    assert (failed.data["error"]["hint"], failed.data["error"]["retryable"]) == (why, True)
    assert (attempt.outcome, (attempt.error or {})["code"]) == ("failed", "out_of_memory")


def test_every_class_is_tried_but_no_more_often_than_attempts_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for hardware in (SMALL, MIDDLE, LARGE, HUGE):
        alive(hardware, name=hardware)
    lives.waiting()
    with lives.changed_settings(monkeypatch, max_attempts="3"):
        assert ran_out(started(SMALL)).least_gib == 25.0
        assert ran_out(started(MIDDLE)).least_gib == 49.0
        job = ran_out(started(LARGE))
    assert (job.status, job.least_gib) == ("failed", 81.0)
    assert job.error is not None
    assert job.error["retryable"]


def test_without_a_larger_gpu_it_is_final_and_says_so() -> None:
    alive(SMALL, name="small")
    alive(LARGE, name="large")
    alive(CPU, name="cpu")
    lives.waiting()
    job = ran_out(started(LARGE))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["hint"] == (
        "Use a smaller batch size. No worker that is there has more than 80 GiB on one GPU."
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
    with db.transaction() as session:
        source = session.get_one(Job, job.id)
        origin = Origin(project_id=job.project_id, trace_id="")
        made = successors.retry(session, source, origin=origin)
    assert made.least_gib == 81.0
    assert claims_nothing(LARGE)
    with db.read() as session:
        assert queue_waits.no_worker_can_hold(queue_waits.look(session), made)
