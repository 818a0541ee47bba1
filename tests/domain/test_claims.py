from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from domain import artifacts, claims, db, events, jobs, progress, quotas, usage
from domain.callers import Origin
from domain.errors import InvalidTransition, StaleAttempt
from domain.ids import new_id, to_public
from domain.job_errors import JobError
from domain.job_status import Status
from domain.tables import Attempt, Event, Job
from tests import factories, lives, trainer_lines
from vader_core.spec import Prompt

pytestmark = pytest.mark.usefixtures("settings")

HARDWARE = "cpu x2"


def run_out(job: Job | claims.Claim) -> None:
    """Lets the lease of the job run out now, by the database's clock."""
    job_id = job.id if isinstance(job, Job) else job.job_id
    with db.transaction() as session:
        session.execute(
            text("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s' WHERE id = :id"),
            {"id": job_id},
        )


def lost(claim: claims.Claim) -> Job:
    """The job after its worker was found silent."""
    run_out(claim)
    with db.transaction() as session:
        return claims.lose(session, session.get_one(Job, claim.job_id, with_for_update=True))


def attempt_of(claim: claims.Claim) -> Attempt:
    with db.read() as session:
        return session.get_one(Attempt, (claim.job_id, claim.attempt))


def failed(claim: claims.Claim, error: JobError = lives.BROKEN) -> Job:
    with db.transaction() as session:
        return claims.fail_attempt(session, job_id=claim.job_id, attempt=claim.attempt, error=error)


def released(claim: claims.Claim) -> Job:
    with db.transaction() as session:
        return claims.release(
            session, job_id=claim.job_id, attempt=claim.attempt, reason="The worker stops."
        )


def test_nothing_to_claim_is_none() -> None:
    with db.transaction() as session:
        assert claims.claim(session, worker="w", hardware=HARDWARE) is None


def test_a_claim_holds_the_job_for_a_minute_of_the_databases_clock() -> None:
    job = lives.waiting()
    claim = lives.claimed("worker-7")
    assert (claim.job_id, claim.attempt, claim.checkpoints) == (job.id, 1, [])
    held = lives.now(job.id)
    assert (held.status, held.owner, held.attempt) == ("starting", "worker-7", 1)
    with db.read() as session:
        left = session.scalar(
            select(text("extract(epoch from lease_until - clock_timestamp()) FROM jobs"))
        )
    assert 55 < float(left or 0) <= 60
    assert (attempt_of(claim).worker, attempt_of(claim).hardware) == ("worker-7", HARDWARE)


def test_a_claim_carries_the_prompts_of_a_stored_set() -> None:
    with db.transaction() as session:
        project = factories.project(session)
        prompts = [Prompt.model_validate(prompt) for prompt in factories.PROMPTS]
        made = factories.prompt_set(session, project.id, prompts)
        reference = f"{to_public('ps', made.id)}@v1"
        spec = factories.spec().model_copy(
            update={
                "prompts": factories.spec().prompts.model_copy(
                    update={"inline": None, "prompt_set": reference}
                )
            }
        )
        jobs.create(
            session,
            spec=spec,
            asked_spec={},
            origin=Origin(project_id=project.id, trace_id=""),
        )
    claim = lives.claimed()
    assert claim.spec.prompts.inline == prompts
    assert claim.spec.prompts.prompt_set is None


def test_priority_sets_the_order_within_a_project_and_never_before_others() -> None:
    with db.transaction() as session:
        pushy, modest = factories.project(session), factories.project(session)
        urgent = [factories.job(session, pushy.id, priority="high") for _ in range(3)]
    with db.transaction() as session:
        usual = factories.job(session, modest.id)
        low = factories.job(session, modest.id, priority="low")
        high = factories.job(session, modest.id, priority="high")
    order = [lives.claimed().job_id for _ in range(6)]
    assert order == [urgent[0].id, high.id, urgent[1].id, usual.id, urgent[2].id, low.id]


def test_no_job_may_use_more_than_its_project_has_left_this_month() -> None:
    job = lives.waiting(budget={"max_steps": 20, "max_gpu_seconds": 500})
    rich = lives.waiting(budget={"max_steps": 20})
    with db.transaction() as session:
        quotas.set_limits(session, job.project_id, gpu_seconds_a_month=100)
        quotas.set_limits(session, rich.project_id, gpu_seconds_a_month=10**6)
        usage.add(
            session,
            project_id=job.project_id,
            kind="generation",
            subject_id=new_id(),
            base_model="tiny-unet@1",
            gpu_seconds=30,
        )
    claim = lives.claimed()
    assert (claim.job_id, claim.budget.max_gpu_seconds) == (job.id, 70)
    assert claim.spec.budget.max_gpu_seconds == 500
    assert lives.claimed().budget.max_gpu_seconds == 10**6
    # What it uses itself leaves its ceiling where it is; what others of the project use lowers it.
    lives.told(claim, trainer_lines.started(), trainer_lines.step(1))
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    with db.transaction() as session:
        assert claims.heartbeat(session, **holder).budget.max_gpu_seconds == 70
        usage.add(
            session,
            project_id=job.project_id,
            kind="scoring",
            subject_id=new_id(),
            base_model="tiny-unet@1",
            gpu_seconds=50,
        )
    with db.read() as session:
        assert claims.wishes(session, **holder).budget.max_gpu_seconds == 20
    lives.patched(job.id, budget={"max_gpu_seconds": 15})
    with db.read() as session:
        assert claims.wishes(session, **holder).budget.max_gpu_seconds == 15


def test_priority_comes_before_age() -> None:
    with db.transaction() as session:
        project = factories.project(session)
        low, normal, high = (
            factories.job(session, project.id, priority=p) for p in ("low", "normal", "high")
        )
    assert [lives.claimed().job_id for _ in range(3)] == [high.id, normal.id, low.id]


def test_the_project_with_the_fewest_running_jobs_comes_first() -> None:
    with db.transaction() as session:
        greedy, modest = factories.project(session), factories.project(session)
        many = [factories.job(session, greedy.id) for _ in range(4)]
    with db.transaction() as session:
        few = [factories.job(session, modest.id) for _ in range(2)]
    order = [lives.claimed().job_id for _ in range(6)]
    assert order == [many[0].id, few[0].id, many[1].id, few[1].id, many[2].id, many[3].id]


def test_of_many_workers_exactly_one_gets_each_job() -> None:
    waiting = {lives.waiting().id for _ in range(12)}
    start = threading.Barrier(6, timeout=10)

    def work(number: int) -> list[claims.Claim]:
        start.wait()
        mine: list[claims.Claim] = []
        while True:
            with db.transaction() as session:
                claim = claims.claim(session, worker=f"worker-{number}", hardware=HARDWARE)
            if claim is None:
                return mine
            mine.append(claim)

    with ThreadPoolExecutor(6) as threads:
        got = [claim for mine in threads.map(work, range(6)) for claim in mine]
    # A worker may find every row locked and go home, but no job is taken twice.
    assert len({claim.job_id for claim in got}) == len(got)
    assert {claim.attempt for claim in got} == {1}
    while len(got) < 12:
        got.append(lives.claimed())
    assert {claim.job_id for claim in got} == waiting


def test_a_heartbeat_prolongs_the_lease_and_tells_of_a_cancel() -> None:
    claim = lives.training()
    run_out(claim)
    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    with db.transaction() as session:
        beat = claims.heartbeat(session, **holder)
    assert not beat.cancel_requested
    with db.read() as session:
        assert session.scalar(text("SELECT lease_until > clock_timestamp() FROM jobs"))
    lives.cancel(claim.job_id, keep_adapter=False)
    with db.transaction() as session:
        assert claims.heartbeat(session, **holder) == claims.Heartbeat(
            cancel_requested=True,
            keep_adapter=False,
            pause_requested=False,
            budget=claim.budget,
            cost_gpu_seconds=None,
        )
        assert claims.wishes(session, **holder).cancel_requested


def writes_of(job_id: UUID, attempt: int) -> list[Callable[[Session], object]]:
    """Everything an attempt can write."""
    who = {"job_id": job_id, "attempt": attempt}
    line = trainer_lines
    return [
        lambda s: claims.heartbeat(s, **who),
        lambda s: claims.wishes(s, **who),
        lambda s: claims.finish(s, **who, to=Status.FAILED, error=lives.BROKEN),
        lambda s: claims.fail_attempt(s, **who, error=lives.BROKEN),
        lambda s: claims.release(s, **who, reason=""),
        lambda s: claims.pause(s, **who, reason="requested"),
        lambda s: progress.record(s, **who, lines=[line.step(1)]),
        lambda s: artifacts.add_sample(s, **who, line=line.sample(), key="k"),
        lambda s: artifacts.add_sheet(s, **who, line=line.sheet(), key="k"),
        lambda s: artifacts.add_checkpoint(s, **who, line=line.checkpoint(1), prefix="k"),
        lambda s: artifacts.prune_checkpoints(s, **who, keep_last=1),
        lambda s: artifacts.add_adapter(s, **who, line=line.done(), prefix="k"),
        lambda s: artifacts.add_log(s, **who, key="k", file=line.file("log")),
    ]


@pytest.mark.parametrize("claimed_anew", [False, True])
def test_an_attempt_that_lost_its_lease_can_write_nothing(claimed_anew: bool) -> None:
    old = lives.training()
    lost(old)
    if claimed_anew:
        assert lives.claimed("worker-2").attempt == 2
    before = lives.now(old.job_id)
    for write in writes_of(old.job_id, old.attempt):
        with pytest.raises(StaleAttempt), db.transaction() as session:
            write(session)
    after = lives.now(old.job_id)
    assert (after.version, after.last_seq) == (before.version, before.last_seq)


def test_a_lost_attempt_is_followed_by_another_that_knows_what_was_spent() -> None:
    first = lives.training()
    lives.told(first, *(trainer_lines.step(number) for number in range(1, 16)))
    lives.checkpointed(first, [5, 10])
    job = lost(first)
    assert (job.status, job.owner, job.lease_until) == ("queued", None, None)
    second = lives.claimed("worker-2")
    assert second.attempt == 2
    assert second.spent_gpu_seconds == 30
    assert second.spent_wall_clock_s > 0
    assert [checkpoint.step for checkpoint in second.checkpoints] == [10, 5]
    assert second.checkpoints[0].prefix.endswith("/attempts/1/checkpoints/step-000010")
    assert attempt_of(first).outcome == "lost"
    with db.read() as session:
        types = [event.type for event in events.list_after(session, job_id=first.job_id)]
    assert types[-3:] == ["job.attempt_failed", "job.queued", "job.attempt_restarted"]


def test_a_job_whose_workers_are_lost_three_times_fails() -> None:
    assert lost(lives.training()).status == "queued"
    assert lost(lives.claimed()).status == "queued"
    job = lost(lives.claimed())
    assert (job.status, job.stop_reason) == ("failed", "error")
    assert job.error is not None
    assert (job.error["code"], job.error["attempt"]) == ("worker_lost", 3)


def test_an_error_that_no_attempt_can_cure_fails_the_job_at_once() -> None:
    claim = lives.training()
    lives.checkpointed(claim)
    error = JobError(code="out_of_memory", message="Too big.", fault="user", retryable=False)
    job = failed(claim, error)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["last_checkpoint"].startswith("ck_")
    assert attempt_of(claim).outcome == "failed"


def test_the_same_error_at_the_same_step_twice_fails_the_job() -> None:
    assert failed(lives.training()).status == "queued"
    assert failed(lives.claimed()).status == "failed"


def test_another_error_at_another_step_gets_another_attempt() -> None:
    assert failed(lives.training()).status == "queued"
    later = lives.BROKEN.model_copy(update={"step": 9})
    assert failed(lives.claimed(), later).status == "queued"


def test_a_drained_attempt_is_not_charged() -> None:
    lives.waiting()
    for number in range(1, 6):
        claim = lives.claimed()
        assert claim.attempt == number
        assert released(claim).status == "queued"
    assert attempt_of(claim).outcome == "released"
    assert lost(lives.claimed()).status == "queued"


def test_a_job_that_is_drained_for_ever_fails() -> None:
    lives.waiting()
    with db.transaction() as session:
        session.execute(text("UPDATE jobs SET preemptions = 20"))
    job = released(lives.claimed())
    assert job.error is not None
    assert (job.status, job.error["code"]) == ("failed", "preempted_too_often")


def test_a_job_being_cancelled_ends_cancelled_however_its_attempt_ends() -> None:
    for end in (failed, released, lost):
        claim = lives.training()
        lives.cancel(claim.job_id)
        job = end(claim)
        assert (job.status, job.stop_reason) == ("cancelled", "cancelled")
        assert attempt_of(claim).ended_at is not None


def test_success_needs_a_stored_adapter() -> None:
    claim = lives.training()
    lives.told(claim, trainer_lines.phase("exporting"))
    with pytest.raises(InvalidTransition, match="adapter stored"):
        lives.ended(claim, Status.SUCCEEDED)


def test_a_success_tells_its_reason_verdict_and_adapter() -> None:
    job = lives.succeeded()
    assert (job.status, job.stop_reason) == ("succeeded", "completed_steps")
    assert (job.owner, job.lease_until) == (None, None)
    assert job.finished_at is not None
    assert job.wall_clock_s > 0
    assert job.adapter_id is not None
    with db.read() as session:
        last = session.scalars(select(Event).order_by(Event.seq.desc()).limit(1)).one()
    assert last.type == "job.succeeded"
    assert last.data["adapter_id"] == to_public("ad", job.adapter_id)
    assert (last.data["verdict"], last.data["stop_reason"]) == ("improved", "completed_steps")


def test_of_cancel_and_success_at_the_same_time_exactly_one_wins() -> None:
    for _ in range(4):
        claim, start = lives.finalizing(), threading.Barrier(2, timeout=10)
        with ThreadPoolExecutor(2) as threads:
            worker = threads.submit(at_once, start, succeed_or_cancel, claim)
            client = threads.submit(at_once, start, cancel_or_learn, claim)
        ended, asked = worker.result(), client.result()
        assert lives.now(claim.job_id).status == ended
        assert (ended, asked) in {("succeeded", "succeeded"), ("cancelled", "cancelling")}


def at_once(
    start: threading.Barrier, call: Callable[[claims.Claim], str], claim: claims.Claim
) -> str:
    start.wait()
    return call(claim)


def succeed_or_cancel(claim: claims.Claim) -> str:
    try:
        return lives.ended(claim, Status.SUCCEEDED).status
    except InvalidTransition:
        return lives.ended(claim, Status.CANCELLED).status


def cancel_or_learn(claim: claims.Claim) -> str:
    try:
        return lives.cancel(claim.job_id).status
    except InvalidTransition as refused:
        return refused.current_status


def test_money_buys_gpu_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"amount": "6", "currency": "USD"}
    lives.waiting(budget={"max_steps": 2, "max_cost": cost})
    assert lives.claimed().cost_gpu_seconds is None
    lives.waiting(budget={"max_steps": 2, "max_cost": cost})
    with lives.changed_settings(monkeypatch, gpu_second_price="0.002"):
        assert lives.claimed().cost_gpu_seconds == 3000


def test_a_claim_knows_when_its_job_was_made() -> None:
    lives.waiting()
    age = datetime.now(UTC) - lives.claimed().created_at
    assert abs(age.total_seconds()) < 60


def test_a_spec_that_can_no_longer_be_read_fails_its_job_and_stops_no_other() -> None:
    with db.transaction() as session:
        project_id = factories.project(session).id
        unreadable, sound = (factories.job(session, project_id) for _ in range(2))
        session.execute(
            text("UPDATE jobs SET spec = jsonb_set(spec, '{former_field}', '1') WHERE id = :id"),
            {"id": unreadable.id},
        )
    with db.transaction() as session:
        claim = claims.claim(session, worker="w1", hardware=HARDWARE)
    assert claim is not None
    assert claim.job_id == sound.id
    with db.read() as session:
        failed = session.get_one(Job, unreadable.id)
        assert failed.status == Status.FAILED
        assert failed.error is not None
        assert failed.error["code"] == "spec_unusable"
        assert "/former_field" in failed.error["message"]


def test_a_project_without_any_quota_stands_in_nobodys_way() -> None:
    with db.transaction() as session:
        poor = factories.project(session)
        quotas.set_limits(session, poor.id, gpu_seconds_a_month=0)
        waits = factories.job(session, poor.id, priority="high")
    other = lives.waiting()
    assert lives.claimed().job_id == other.id
    with db.transaction() as session:
        assert claims.claim(session, worker="w", hardware=HARDWARE) is None
        quotas.set_limits(session, poor.id, gpu_seconds_a_month=10)
    assert lives.claimed().job_id == waits.id
