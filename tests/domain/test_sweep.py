from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, text

from domain import db, queue, sweep, workers
from domain.access_tables import Member, MemberSession
from domain.ids import new_id
from domain.service_tables import IdempotencyKey, Worker
from domain.sweep import SweepReport
from tests import factories, lives, trainer_lines
from tests.past_runs import alive

pytestmark = pytest.mark.usefixtures("settings")

ROOT = Path(__file__).parents[2]


def sql(statement: str) -> None:
    with db.transaction() as session:
        session.execute(text(statement))


def silence_all_workers() -> None:
    sql("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s' WHERE owner IS NOT NULL")


def test_with_nothing_to_do_a_sweep_does_nothing() -> None:
    lives.waiting()
    lives.training()
    assert sweep.run_once() == SweepReport(ran=True)


def test_jobs_of_silent_workers_go_back_end_or_are_cancelled() -> None:
    again = lives.training()
    asked = lives.training()
    lives.checkpointed(asked)
    lives.cancel(asked.job_id)
    last = lives.training()
    with db.transaction() as session:
        used_up = text(
            "INSERT INTO attempts (job_id, number, worker, hardware, outcome)"
            " SELECT :id, number, 'w', 'cpu', 'lost' FROM unnest('{-1, 0}'::int[]) AS number"
        )
        session.execute(used_up, {"id": last.job_id})
    silence_all_workers()
    assert sweep.run_once() == SweepReport(ran=True, requeued=1, failed=1, cancelled=1)
    assert lives.now(again.job_id).status == "queued"
    assert lives.now(last.job_id).status == "failed"
    cancelled = lives.now(asked.job_id)
    assert cancelled.status == "cancelled"
    assert cancelled.adapter_id is not None
    assert sweep.run_once() == SweepReport(ran=True)


def test_a_job_that_waited_longer_than_it_may_has_expired() -> None:
    short = lives.waiting(budget={"max_steps": 1, "max_queue_s": 0.001})
    patient = lives.waiting(budget={"max_steps": 1, "max_queue_s": 3600})
    time.sleep(0.01)
    assert sweep.run_once() == SweepReport(ran=True, failed=1)
    expired = lives.now(short.id)
    assert expired.error is not None
    assert (expired.status, expired.error["code"]) == ("failed", "queue_expired")
    assert "max_queue_s" in expired.error["message"]
    assert lives.now(patient.id).status == "queued"


def test_a_job_that_ran_before_does_not_expire_in_the_queue() -> None:
    claim = lives.training(budget={"max_steps": 1, "max_queue_s": 0.001})
    silence_all_workers()
    assert sweep.run_once() == SweepReport(ran=True, requeued=1)
    assert sweep.run_once() == SweepReport(ran=True)
    assert lives.now(claim.job_id).status == "queued"


def test_a_deadline_in_the_queue_fails_only_what_has_no_checkpoint() -> None:
    fresh = lives.waiting()
    started = lives.training(priority="high")
    lives.checkpointed(started)
    silence_all_workers()
    sweep.run_once()
    sql("UPDATE jobs SET deadline_at = clock_timestamp()")
    assert sweep.run_once() == SweepReport(ran=True, failed=1)
    failed = lives.now(fresh.id)
    assert failed.error is not None
    assert "deadline_at" in failed.error["message"]
    assert lives.now(started.job_id).status == "queued"


def test_a_job_that_ran_for_nothing_is_not_told_that_nothing_was_spent() -> None:
    claim = lives.training()
    silence_all_workers()
    sweep.run_once()
    sql("UPDATE jobs SET deadline_at = clock_timestamp()")
    assert sweep.run_once().failed == 1
    error = lives.now(claim.job_id).error
    assert error is not None
    assert error["message"] == "deadline_at passed before a worker could go on with the job."
    assert "Nothing was spent" not in error["hint"]


def test_a_row_that_cannot_be_ended_stands_in_nobodys_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck, sound = lives.training(), lives.training()
    silence_all_workers()
    with db.transaction() as session:
        broken = text("DELETE FROM attempts WHERE job_id = :id")
        session.execute(broken, {"id": stuck.job_id})
    expired = lives.waiting(budget={"max_steps": 1, "max_queue_s": 0.001})
    time.sleep(0.01)
    assert sweep.run_once() == SweepReport(ran=True, requeued=1, failed=1, stuck=1)
    assert lives.now(sound.job_id).status == "queued"
    assert lives.now(expired.id).status == "failed"
    assert lives.now(stuck.job_id).status == "running"
    assert str(stuck.job_id) in caplog.text


def test_a_queued_job_of_which_nobody_was_told_is_rung_for_again(redis_url: str) -> None:
    job = lives.waiting()
    queue.forget()
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        assert sweep.run_once().hinted == 0
        sql("UPDATE jobs SET hinted_at = clock_timestamp() - interval '61 s'")
        assert sweep.run_once().hinted == 1
        assert sweep.run_once().hinted == 0
        queue.forget()
        messages = [json.loads(message) for message in client.lrange(queue.QUEUE, 0, -1)]
    assert len(messages) == 1
    assert messages[0]["headers"]["argsrepr"] == repr((str(job.id),)).replace("(", "[").replace(
        ",)", "]"
    )


def test_nobody_is_rung_for_a_job_that_no_worker_can_hold(redis_url: str) -> None:
    small, large = "1 x NVIDIA L4 (24 GiB)", "1 x NVIDIA H200 (141 GiB)"
    alive(small, name="small")
    lives.waiting()
    sql("UPDATE jobs SET least_gib = 80, hinted_at = clock_timestamp() - interval '61 s'")
    assert sweep.run_once().hinted == 0
    alive(large, name="large")
    assert sweep.run_once().hinted == 1
    sql("UPDATE jobs SET least_gib = 200, hinted_at = clock_timestamp() - interval '61 s'")
    assert sweep.run_once().hinted == 0
    alive("CPU, 2 cores, 16 GiB", name="cpu")
    assert sweep.run_once().hinted == 1


def test_old_answers_and_workers_are_purged_and_young_ones_kept() -> None:
    with db.transaction() as session:
        project = factories.project(session)
        for key, days in (("young", 6), ("old", 8)):
            session.add(
                IdempotencyKey(
                    project_id=project.id,
                    key=key,
                    fingerprint="f",
                    status_code=202,
                    headers={},
                    body={},
                    created_at=text(f"clock_timestamp() - interval '{days} days'"),
                )
            )
        workers.beat(session, worker="here", hardware="cpu")
        workers.beat(session, worker="gone", hardware="cpu")
    sql("UPDATE workers SET last_seen_at = last_seen_at - interval '8 days' WHERE name = 'gone'")
    assert sweep.run_once().purged == 2
    with db.read() as session:
        assert session.scalars(select(IdempotencyKey.key)).all() == ["young"]
        assert session.scalars(select(Worker.name)).all() == ["here"]


def test_one_process_sweeps_at_a_time() -> None:
    with db.exclusive(sweep.SWEEP_LOCK) as alone:
        assert alone
        assert sweep.run_once() == SweepReport(ran=False)
    assert sweep.run_once().ran


def test_sweeps_at_the_same_time_end_each_job_once() -> None:
    claims = [lives.training() for _ in range(4)]
    silence_all_workers()
    with ThreadPoolExecutor(3) as threads:
        reports = list(threads.map(lambda _: sweep.run_once(), range(3)))
    assert sum(report.requeued for report in reports) == 4
    assert {lives.now(claim.job_id).status for claim in claims} == {"queued"}


def test_a_sweep_that_is_killed_can_be_done_again() -> None:
    """A process is killed somewhere in its sweep; the lock ends with it and nothing is half done."""
    claims = [lives.training() for _ in range(6)]
    for claim in claims:
        lives.told(claim, trainer_lines.step(1))
    silence_all_workers()
    code = "from domain import sweep; print('go', flush=True); sweep.run_once()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    give_up_at = time.monotonic() + 10
    while not sweep.run_once().ran:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    assert {lives.now(claim.job_id).status for claim in claims} == {"queued"}
    seqs = {lives.now(claim.job_id).last_seq for claim in claims}
    assert len(seqs) == 1


def test_sessions_that_are_long_over_are_deleted() -> None:
    with db.transaction() as session:
        project_id = factories.project(session).id
        member = Member(id=new_id(), project_id=project_id, email="a@b.c", name="A", role="viewer")
        session.add(member)
        session.flush()
        for token, days in ((b"long over", -8), (b"just over", -1), (b"open", 1)):
            made = MemberSession(
                id=new_id(),
                project_id=project_id,
                member_id=member.id,
                token_hash=token,
                expires_at=db.utc_now() + timedelta(days=days),
            )
            session.add(made)
        signed_out = MemberSession(
            id=new_id(),
            project_id=project_id,
            member_id=member.id,
            token_hash=b"signed out",
            expires_at=db.utc_now() + timedelta(days=1),
            ended_at=db.utc_now() - timedelta(days=8),
        )
        session.add(signed_out)
    assert sweep.run_once().purged == 2
    with db.read() as session:
        left = set(session.scalars(select(MemberSession.token_hash)))
    assert left == {b"just over", b"open"}
