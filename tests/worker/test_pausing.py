"""Jobs that are paused while they run, at ceilings too, and go on: nothing is lost, nothing is charged."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import pytest

from domain import artifacts, db, job_patch, pausing
from domain.settings import Settings, get_settings
from domain.store import open_store
from tests.worker.bench import Bench, expected_weights
from tests.worker.conftest import set_short_times
from tests.worker.waiting import wait_until

pytestmark = pytest.mark.usefixtures("worker_settings")


@pytest.fixture
def bench(worker_settings: Settings) -> Bench:
    return Bench(worker_settings, open_store(worker_settings))


def pause(bench: Bench, job_id: UUID) -> None:
    with db.transaction() as session:
        pausing.request(session, project_id=bench.project_id, job_id=job_id)


def resume(bench: Bench, job_id: UUID) -> None:
    with db.transaction() as session:
        pausing.resume(session, project_id=bench.project_id, job_id=job_id)


def set_budget(bench: Bench, job_id: UUID, **budget: Any) -> None:
    with db.transaction() as session:
        job_patch.patch(
            session,
            project_id=bench.project_id,
            job_id=job_id,
            document={"budget": budget},
            seen=None,
        )


def outcomes(job_id: UUID) -> list[str | None]:
    with db.read() as session:
        return [attempt.outcome for attempt in artifacts.attempts(session, job_id=job_id)]


def test_a_paused_job_goes_on_where_it_was_and_ends_as_one_left_alone(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 5000}, checkpoints={"every_steps": 1000})
    for step in (3, 60):
        pauser = bench.when_at_step(job_id, step, lambda: pause(bench, job_id))
        bench.attempt()
        pauser.join()
        job = bench.job(job_id)
        assert (job.status, job.pause_reason) == ("paused", "requested")
        assert job.step >= step
        resume(bench, job_id)
    last = job.step + 3
    set_budget(bench, job_id, max_steps=last)
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.step, job.reward_queries) == ("succeeded", last, 8 * last)
    assert bench.weights(job_id) == expected_weights(seed=7, steps=last)
    assert outcomes(job_id) == ["paused", "paused", "succeeded"]


def test_a_ceiling_pauses_and_a_raised_budget_lets_it_go_on(bench: Bench) -> None:
    job_id = bench.submit(
        budget={"max_steps": 9, "max_reward_queries": 32, "on_exhausted": "pause"}
    )
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.pause_reason, job.step) == ("paused", "reward_queries", 4)
    set_budget(bench, job_id, max_reward_queries=400, max_steps=11)
    resume(bench, job_id)
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.stop_reason, job.step) == ("succeeded", "completed_steps", 11)
    assert bench.weights(job_id) == expected_weights(seed=7, steps=11)


def test_a_budget_raised_while_the_trainer_runs_reaches_it(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 20}, labels={"step_s": "0.25"})
    raiser = bench.when_at_step(job_id, 2, lambda: set_budget(bench, job_id, max_steps=22))
    bench.attempt()
    raiser.join()
    job = bench.job(job_id)
    assert (job.status, job.step, job.steps_total) == ("succeeded", 22, 22)
    assert bench.weights(job_id) == expected_weights(seed=7, steps=22)


def test_the_supervisors_own_ceilings_are_those_of_the_present_budget(bench: Bench) -> None:
    """The trainer of these tests does not look at the clock itself."""
    budget = {"max_steps": 1000, "max_wall_clock_s": 1.5, "on_exhausted": "pause"}
    job_id = bench.submit(budget=budget)
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.pause_reason) == ("paused", "wall_clock")
    set_budget(bench, job_id, max_wall_clock_s=600.0, max_steps=job.step + 5)
    resume(bench, job_id)
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_steps")


def test_a_trainer_deaf_to_the_pause_is_killed_and_goes_on_from_its_last_checkpoint(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, pause_grace_s=0.5)
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit(budget={"max_steps": 1000}, labels={"ignore_stop": "yes"})
    pauser = bench.when_at_step(job_id, 3, lambda: pause(bench, job_id))
    bench.attempt()
    pauser.join()
    assert bench.job(job_id).status == "paused"
    with db.read() as session:
        newest, *_ = artifacts.checkpoints(session, job_id=job_id).items
    assert newest.step % 2 == 0


def test_a_cancel_of_a_pausing_job_keeps_what_it_has(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 1000})

    def pause_and_cancel() -> None:
        pause(bench, job_id)
        bench.cancel(job_id)

    thread = bench.when_at_step(job_id, 3, pause_and_cancel)
    bench.attempt()
    thread.join()
    assert bench.job(job_id).status == "cancelled"
    assert bench.weights(job_id) == expected_weights(seed=7, steps=bench.adapter(job_id).step)


def test_a_pause_that_meets_the_export_is_not_charged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, pause_grace_s=6)
    get_settings.cache_clear()
    bench.settings = get_settings()
    labels = {"ignore_stop": "yes", "step_s": "0.5", "export_s": "300"}
    job_id = bench.submit(budget={"max_steps": 6}, labels=labels)
    pauser = bench.when_at_step(job_id, 2, lambda: pause(bench, job_id))
    bench.attempt()
    pauser.join()
    job = bench.job(job_id)
    assert (job.status, job.preemptions, job.error) == ("queued", 1, None)
    assert outcomes(job_id) == ["released"]


def test_a_pause_does_not_keep_a_worker_that_ends_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_short_times(monkeypatch, drain_grace_s=1.5, pause_grace_s=600)
    get_settings.cache_clear()
    bench.settings = get_settings()
    job_id = bench.submit(budget={"max_steps": 500}, labels={"ignore_stop": "yes"})

    def drain_and_pause() -> None:
        bench.drain.set()
        pause(bench, job_id)

    thread = bench.when_at_step(job_id, 2, drain_and_pause)
    bench.attempt()
    thread.join()
    # Killed: left alone, this trainer would have come to its end.
    assert bench.job(job_id).status == "paused"


def test_a_ceiling_raised_in_the_final_evaluation_is_taken_back(bench: Bench) -> None:
    budget = {"max_steps": 1000, "max_wall_clock_s": 2.5}
    job_id = bench.submit(budget=budget, labels={"evaluate_s": "6"})

    def raise_ceiling() -> None:
        wait_until(lambda: bench.job(job_id).phase == "evaluating", within_s=60)
        set_budget(bench, job_id, max_wall_clock_s=600.0, max_steps=bench.job(job_id).step + 7)

    thread = threading.Thread(target=raise_ceiling)
    thread.start()
    bench.attempt()
    thread.join()
    job = bench.job(job_id)
    assert (job.status, job.stop_reason) == ("succeeded", "completed_steps")
    assert job.step == job.steps_total
    with db.read() as session:
        found = artifacts.evaluations(session, job_id=job_id)
    assert [(row.kind, row.step) for row in found] == [
        ("base", 0),
        ("periodic", job.step - 7),
        ("final", job.step),
    ]
    # The final evaluation that turned out not to be the last is the best during training.
    assert job.best_evaluation == {"step": job.step - 7, "heldout_reward": found[1].heldout_reward}
