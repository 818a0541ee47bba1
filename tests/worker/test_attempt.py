"""The life of an attempt against a real Postgres, a real store and a real trainer process."""

from __future__ import annotations

import hashlib
import time
from io import BytesIO
from typing import BinaryIO

import pytest

from domain import artifacts, claims, db, events, metrics
from domain.settings import Settings, get_settings
from domain.store import open_store
from domain.store_folder import FolderStore
from tests.worker.bench import Bench, expected_weights
from tests.worker.conftest import set_short_times
from worker import orphans


@pytest.fixture
def bench(worker_settings: Settings) -> Bench:
    return Bench(worker_settings, open_store(worker_settings))


def test_a_job_runs_to_its_end(bench: Bench) -> None:
    job_id = bench.submit(labels={"stray_output": "yes"})
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.stop_reason, job.step) == ("succeeded", "completed_steps", 6)
    assert job.reward_queries == 48
    assert bench.weights(job_id) == expected_weights(seed=7, steps=6)
    told = bench.told(job_id)
    assert told.count("job.metric") == 6
    assert told[-1] == "job.succeeded"
    assert "job.adapter_ready" in told
    with db.read() as session:
        points = metrics.series(session, job_id=job_id, keys=["reward"])
        samples = artifacts.samples(session, job_id=job_id)
        kept = [
            c.step for c in artifacts.checkpoints(session, job_id=job_id).items if not c.expired_at
        ]
        (attempt,) = artifacts.attempts(session, job_id=job_id)
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    assert [(sample.role, sample.step) for sample in samples] == [("base", 0), ("adapter", 6)]
    assert kept == [6, 4, 2]
    assert job.sheet is not None
    assert attempt.outcome == "succeeded"


def test_every_stored_file_is_what_its_record_says(bench: Bench) -> None:
    job_id = bench.submit()
    bench.attempt()
    job = bench.job(job_id)
    with db.read() as session:
        samples = artifacts.samples(session, job_id=job_id)
        checkpoints = artifacts.checkpoints(session, job_id=job_id).items
        (attempt,) = artifacts.attempts(session, job_id=job_id)
    assert job.sheet is not None
    assert attempt.log is not None
    recorded = {sample.key: sample.sha256 for sample in samples}
    recorded |= {thing["key"]: thing["sha256"] for thing in (job.sheet, attempt.log)}
    for row in checkpoints:
        assert {file["path"] for file in row.files} >= {"manifest.json", "state.json"}
        recorded |= {f"{row.prefix}/{file['path']}": file["sha256"] for file in row.files}
    for key, sha256 in recorded.items():
        with bench.store.open(key) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == sha256


def test_only_the_newest_checkpoints_stay_in_the_store(bench: Bench) -> None:
    job_id = bench.submit(checkpoints={"every_steps": 1, "keep_last": 2})
    bench.attempt()
    prefix = f"{artifacts.attempt_prefix(job_id, 1)}/checkpoints/"
    folders = {key.removeprefix(prefix).split("/")[0] for key in bench.store.list(prefix)}
    assert folders == {"step-000005", "step-000006"}


def test_a_typed_error_of_the_user_ends_the_job(bench: Bench) -> None:
    job_id = bench.submit(labels={"fail_at": "3", "fail_how": "error:user"})
    bench.attempt()
    job = bench.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "reward_not_finite"
    assert job.error["hint"] == "Lower the learning rate."
    assert (job.error["fault"], job.error["step"]) == ("user", 3)
    assert job.error["last_checkpoint"].startswith("ck_")
    assert bench.told(job_id)[-1] == "job.failed"


@pytest.mark.parametrize("how", ["error:retryable", "exit:70", "signal:9"])
def test_a_second_attempt_goes_on_from_the_checkpoint(bench: Bench, how: str) -> None:
    job_id = bench.submit(labels={"fail_at": "3", "fail_how": how, "fail_attempts": "1"})
    bench.attempt()
    assert bench.job(job_id).status == "queued"
    bench.attempt()
    assert bench.job(job_id).status == "succeeded"
    assert bench.weights(job_id) == expected_weights(seed=7, steps=6)
    with db.read() as session:
        first, second = artifacts.attempts(session, job_id=job_id)
        points = metrics.series(session, job_id=job_id, keys=["reward"])
    assert first.error is not None
    assert second.resumed_from_step == 2
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    told = bench.told(job_id)
    assert {"job.attempt_failed", "job.attempt_restarted"} <= set(told)


def test_nothing_is_left_when_the_keeper_itself_is_killed(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 1000}, labels={"grandchild": "yes"})

    def kill_keeper() -> None:
        for process, mark in orphans.marked():
            if mark.job_id == str(job_id) and "worker.keeper" in process.cmdline():
                process.kill()

    killer = bench.when_at_step(job_id, 2, kill_keeper)
    bench.attempt()
    killer.join()
    assert bench.job(job_id).status == "queued"
    with db.read() as session:
        (attempt,) = artifacts.attempts(session, job_id=job_id)
    assert attempt.error is not None
    assert attempt.error["code"] == "trainer_killed"


def test_a_crash_at_the_same_step_twice_fails_the_job(bench: Bench) -> None:
    job_id = bench.submit(labels={"fail_at": "3", "fail_how": "signal:11"})
    bench.attempt()
    bench.attempt()
    job = bench.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error["code"] == "trainer_crashed"
    assert "SIGSEGV" in job.error["message"]


def test_a_trainer_that_cannot_be_started_is_a_failed_attempt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, trainer_command='["/no/such/trainer"]')
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit()
    bench.attempt()
    assert bench.job(job_id).status == "queued"
    assert "job.attempt_failed" in bench.told(job_id)


def test_a_running_job_is_cancelled_and_keeps_its_adapter(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 1000}, labels={"grandchild": "yes"})
    asked_at: list[float] = []

    def cancel() -> None:
        asked_at.append(time.monotonic())
        bench.cancel(job_id)

    canceller = bench.when_at_step(job_id, 3, cancel)
    bench.attempt()
    canceller.join()
    assert time.monotonic() - asked_at[0] < 10
    job = bench.job(job_id)
    assert (job.status, job.stop_reason) == ("cancelled", "cancelled")
    assert 3 <= job.step < 1000
    assert bench.weights(job_id) == expected_weights(seed=7, steps=bench.adapter(job_id).step)
    assert bench.told(job_id)[-1] == "job.cancelled"


def test_a_trainer_deaf_to_a_cancel_is_killed_in_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, cancel_grace_s=1)
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit(budget={"max_steps": 1000}, labels={"ignore_stop": "yes"})
    canceller = bench.when_at_step(job_id, 3, lambda: bench.cancel(job_id))
    bench.attempt()
    canceller.join()
    assert bench.job(job_id).status == "cancelled"
    # What the newest stored checkpoint holds is the adapter.
    assert bench.weights(job_id) == expected_weights(seed=7, steps=bench.adapter(job_id).step)


def test_an_unwanted_adapter_is_not_published(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 1000})
    canceller = bench.when_at_step(job_id, 3, lambda: bench.cancel(job_id, keep_adapter=False))
    bench.attempt()
    canceller.join()
    job = bench.job(job_id)
    assert (job.status, job.adapter_id) == ("cancelled", None)


def test_a_drained_attempt_is_handed_back_uncharged_and_loses_no_step(bench: Bench) -> None:
    job_id = bench.submit(
        budget={"max_steps": 40}, checkpoints={"every_steps": 1000}, labels={"step_s": "0.15"}
    )
    drainer = bench.when_at_step(job_id, 3, bench.drain.set)
    bench.attempt()
    drainer.join()
    job = bench.job(job_id)
    assert (job.status, job.preemptions) == ("queued", 1)
    stopped_at = job.step
    bench.drain.clear()
    bench.attempt()
    assert bench.job(job_id).status == "succeeded"
    assert bench.weights(job_id) == expected_weights(seed=7, steps=40)
    with db.read() as session:
        first, second = artifacts.attempts(session, job_id=job_id)
    assert (first.outcome, second.resumed_from_step) == ("released", stopped_at)


def test_a_trainer_that_ignores_a_drain_is_killed_and_its_job_handed_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, drain_grace_s=0.5)
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit(budget={"max_steps": 1000}, labels={"ignore_stop": "yes"})
    drainer = bench.when_at_step(job_id, 2, bench.drain.set)
    bench.attempt()
    drainer.join()
    assert (bench.job(job_id).status, bench.job(job_id).preemptions) == ("queued", 1)


def test_a_ceiling_that_the_trainer_overlooks_ends_training_normally(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 1000, "max_wall_clock_s": 1.5})
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "wall_clock")
    assert job.evaluation is not None
    assert job.evaluation["kind"] == "final"


def test_a_trainer_stuck_beyond_a_ceiling_is_killed_and_its_checkpoint_published(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, ceiling_grace_s=0.5)
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit(
        budget={"max_steps": 1000, "max_gpu_seconds": 1.5}, labels={"ignore_stop": "yes"}
    )
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "gpu_seconds")
    adapter = bench.adapter(job_id)
    assert adapter.step % 2 == 0
    assert bench.weights(job_id) == expected_weights(seed=7, steps=adapter.step)


def test_a_silent_trainer_is_killed_although_the_lease_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, hang_min_s=2.5)
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit(labels={"fail_at": "3", "fail_how": "hang"})
    bench.attempt()
    assert bench.job(job_id).status == "queued"
    with db.read() as session:
        (attempt,) = artifacts.attempts(session, job_id=job_id)
    assert attempt.error is not None
    assert attempt.error["code"] == "trainer_hung"


def test_an_attempt_that_lost_its_lease_stops_and_publishes_nothing(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 1000})

    def take_over() -> None:
        with db.transaction() as session:
            claims.release(session, job_id=job_id, attempt=1, reason="taken over")

    thief = bench.when_at_step(job_id, 2, take_over)
    began = time.monotonic()
    bench.attempt()
    thief.join()
    assert time.monotonic() - began < 20
    job = bench.job(job_id)
    assert (job.status, job.adapter_id) == ("queued", None)
    assert bench.told(job_id)[-1] == "job.queued"


class FlippingStore(FolderStore):
    """A disk that gives adapters back with one bit turned."""

    def open(self, key: str) -> BinaryIO:
        stream = super().open(key)
        if not key.endswith("/adapter/adapter_model.safetensors"):
            return stream
        with stream:
            data = bytearray(stream.read())
        data[0] ^= 1
        return BytesIO(bytes(data))


def test_an_adapter_whose_stored_bytes_differ_is_not_published(bench: Bench) -> None:
    folder = bench.settings.store_place.folder
    bench.store = FlippingStore(folder, public_url="http://127.0.0.1", secret=b"secret")
    job_id = bench.submit(checkpoints={"every_steps": 1000})
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.adapter_id) == ("queued", None)
    with db.read() as session:
        (attempt,) = artifacts.attempts(session, job_id=job_id)
    assert attempt.error is not None
    assert attempt.error["code"] == "storage_failed"


def test_an_adapter_that_is_not_what_the_trainer_announced_is_not_published(bench: Bench) -> None:
    job_id = bench.submit(labels={"wrong_sha": "adapter"})
    bench.attempt()
    assert bench.job(job_id).adapter_id is None


def test_a_sample_that_cannot_be_trusted_is_left_out_with_a_warning(bench: Bench) -> None:
    job_id = bench.submit(labels={"wrong_sha": "samples"})
    bench.attempt()
    assert bench.job(job_id).status == "succeeded"
    with db.read() as session:
        assert artifacts.samples(session, job_id=job_id) == []
    assert "job.warning" in bench.told(job_id)


def test_a_stored_checkpoint_with_a_flipped_bit_gives_way_to_the_one_before(bench: Bench) -> None:
    job_id = bench.submit(labels={"fail_at": "5", "fail_how": "exit:70", "fail_attempts": "1"})
    bench.attempt()
    with db.read() as session:
        newest = artifacts.checkpoints(session, job_id=job_id).items[0]
    assert newest.step == 4
    state = f"{newest.prefix}/state.json"
    bench.store.delete(state)
    bench.store.put_if_absent(state, b'{"step": 4}', content_type="application/json")
    bench.attempt()
    assert bench.job(job_id).status == "succeeded"
    assert bench.weights(job_id) == expected_weights(seed=7, steps=6)
    with db.read() as session:
        attempts = artifacts.attempts(session, job_id=job_id)
        warnings = events.list_after(session, job_id=job_id, types=["job.warning"])
    assert attempts[1].resumed_from_step == 2
    assert [(event.step, event.data) for event in warnings] == [(4, {"code": "checkpoint_corrupt"})]


def test_queries_of_steps_that_are_done_again_count_against_the_ceiling(bench: Bench) -> None:
    job_id = bench.submit(
        budget={"max_steps": 1000, "max_reward_queries": 8 * 8},
        labels={"fail_at": "5", "fail_how": "exit:70", "fail_attempts": "1"},
    )
    bench.attempt()
    bench.attempt()
    job = bench.job(job_id)
    # The fifth step was done twice.
    assert (job.status, job.stop_reason, job.step) == ("succeeded", "reward_queries", 7)
    assert job.reward_queries == 8 * 8
    with db.read() as session:
        points = metrics.series(session, job_id=job_id, keys=["reward"])
    assert [point.reward_queries for point in points] == [8 * n for n in range(1, 8)]
