"""Jobs that start from what others left, through a worker: the files come from the store, hash-checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest

from domain import adapter_registry, artifacts, db, init_from, jobs, promotion, successors
from domain.callers import Origin
from domain.settings import Settings
from domain.store import open_store
from tests.worker.bench import Bench, expected_weights
from tests.worker.specs import small_spec
from vader_core.spec import InitFrom, JobSpec


@pytest.fixture
def bench(worker_settings: Settings) -> Bench:
    return Bench(worker_settings, open_store(worker_settings))


def submit(bench: Bench, asked: InitFrom, **changes: Any) -> UUID:
    """A job that starts from `asked`, as the API makes it."""
    spec = JobSpec.model_validate({**small_spec(**changes).model_dump(), "init_from": asked})
    with db.transaction() as session:
        found = init_from.resolve(session, project_id=bench.project_id, spec=spec, hold=True)
        assert not found.faults
        job = jobs.create(
            session,
            spec=spec.model_copy(update={"init_from": found.init_from}),
            asked_spec={},
            origin=Origin(project_id=bench.project_id, trace_id=""),
            ties=jobs.Ties(init_from=found.start),
        )
    return job.id


def finished(bench: Bench, **changes: Any) -> UUID:
    """A job of six steps that ended well."""
    job_id = bench.submit(**changes)
    bench.attempt()
    assert bench.job(job_id).status == "succeeded"
    return job_id


def start(job_id: UUID, step: int, state: Literal["full", "weights"]) -> InitFrom:
    with db.read() as session:
        rows = artifacts.checkpoints(session, job_id=job_id).items
    found = next(row for row in rows if row.step == step)
    return InitFrom(checkpoint=init_from.of_checkpoint(found, state=state).id, state=state)


def stored(bench: Bench, prefix: str) -> list[str]:
    return sorted(key.removeprefix(prefix) for key in bench.store.list(prefix))


def test_a_full_state_goes_on_and_counts_on(bench: Bench) -> None:
    parent = finished(bench)
    child = submit(bench, start(parent, 6, "full"), budget={"max_steps": 10})
    before = bench.job(child)
    assert (before.step, before.reward_queries) == (6, 48)
    bench.attempt()
    job = bench.job(child)
    assert (job.status, job.step, job.reward_queries) == ("succeeded", 10, 80)
    assert job.gpu_seconds > before.gpu_seconds > 0
    assert bench.weights(child) == expected_weights(seed=7, steps=10)
    with db.read() as session:
        (attempt,) = artifacts.attempts(session, job_id=child)
    assert attempt.resumed_from_step == 6


def test_weights_are_a_start_of_a_run_that_counts_from_nothing(bench: Bench) -> None:
    parent = finished(bench)
    child = submit(bench, start(parent, 4, "weights"), budget={"max_steps": 3})
    bench.attempt()
    job = bench.job(child)
    assert (job.status, job.step, job.reward_queries) == ("succeeded", 3, 24)
    weights = expected_weights(seed=7, steps=4)
    for step in (1, 2, 3):
        weights = hashlib.sha256(f"{weights}{step}".encode()).hexdigest()
    assert bench.weights(child) == weights


def test_a_later_attempt_goes_on_from_its_own_checkpoint(bench: Bench) -> None:
    parent = finished(bench)
    labels = {"fail_at": "9", "fail_how": "exit:70", "fail_attempts": "1"}
    child = submit(bench, start(parent, 6, "full"), budget={"max_steps": 10}, labels=labels)
    bench.attempt()
    bench.attempt()
    assert bench.job(child).status == "succeeded"
    assert bench.weights(child) == expected_weights(seed=7, steps=10)
    with db.read() as session:
        first, second = artifacts.attempts(session, job_id=child)
    assert (first.resumed_from_step, second.resumed_from_step) == (6, 8)


def test_a_retry_ends_as_the_job_would_have(bench: Bench) -> None:
    failed = bench.submit(labels={"fail_at": "5", "fail_how": "error:user"})
    bench.attempt()
    with db.transaction() as session:
        source = successors.source(session, project_id=bench.project_id, job_id=failed)
        source.spec = {**source.spec, "labels": {}}
        origin = Origin(project_id=bench.project_id, trace_id="")
        child = successors.retry(session, source, origin=origin).id
    bench.attempt()
    assert bench.job(child).status == "succeeded"
    assert bench.weights(child) == expected_weights(seed=7, steps=6)


def test_a_start_whose_bytes_have_changed_is_not_used(bench: Bench, tmp_path: Path) -> None:
    parent = finished(bench)
    asked = start(parent, 6, "full")
    child = submit(bench, asked, budget={"max_steps": 10})
    prefix = f"{artifacts.attempt_prefix(parent, 1)}/checkpoints/step-000006"
    bench.store.delete(f"{prefix}/state.json")
    other = tmp_path / "state.json"
    other.write_text("{}")
    sha256 = hashlib.sha256(b"{}").hexdigest()
    key = f"{prefix}/state.json"
    bench.store.put_file(key, other, sha256=sha256, content_type="application/json")
    bench.attempt()
    job = bench.job(child)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["retryable"]) == ("start_lost", False)


def test_a_promoted_checkpoint_keeps_its_adapter_when_it_is_given_up(bench: Bench) -> None:
    job_id = bench.submit(budget={"max_steps": 40}, checkpoints={"every_steps": 2, "keep_last": 1})
    promoted: list[UUID] = []

    def promote() -> None:
        with db.transaction() as session:
            jobs.locked(session, project_id=bench.project_id, job_id=job_id)
            newest, *_ = artifacts.checkpoints(session, job_id=job_id).items
            adapter, _ = promotion.promote(
                session, project_id=bench.project_id, job_id=job_id, checkpoint_id=newest.id
            )
            promoted.append(adapter.id)

    promoter = bench.when_at_step(job_id, 4, promote)
    bench.attempt()
    promoter.join()
    with db.read() as session:
        adapter = adapter_registry.get(session, project_id=bench.project_id, adapter_id=promoted[0])
        kept = [
            c.step for c in artifacts.checkpoints(session, job_id=job_id).items if not c.expired_at
        ]
    assert kept == [40]
    below = adapter.prefix.removesuffix("/adapter")
    assert stored(bench, f"{below}/") == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    ]
    with bench.store.open(f"{adapter.prefix}/adapter_model.safetensors") as stream:
        assert stream.read().decode() == expected_weights(seed=7, steps=adapter.step)
