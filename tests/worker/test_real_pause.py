"""A job that the real trainer runs, paused and resumed with another budget: the very bytes of one left alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain import db, job_patch, jobs, pausing
from domain.callers import Origin
from domain.settings import Settings, get_settings
from domain.store import open_store
from tests.vader_core.trainer import small_spec
from tests.worker.bench import Bench
from tests.worker.conftest import ROOT, set_short_times
from vader_core.catalogue import BUILT_IN
from vader_core.resolve import check

STEPS = 6


@pytest.fixture
def bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Bench:
    set_short_times(monkeypatch, trainer_threads=1, device="cpu")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    get_settings.cache_clear()
    settings = get_settings()
    return Bench(settings, open_store(settings))


def submit(bench: Bench, **budget: Any) -> UUID:
    small = {"num_prompts": 1, "seeds": [1], "samples_to_keep": 0}
    asked = small_spec(evaluation=small, checkpoints={"every_steps": 100}, budget=budget)
    with db.transaction() as session:
        job = jobs.create(
            session,
            spec=check(asked, BUILT_IN, lambda _: None),
            asked_spec=asked,
            origin=Origin(project_id=bench.project_id, trace_id=""),
        )
    return job.id


def weights(bench: Bench, job_id: UUID) -> bytes:
    adapter = bench.adapter(job_id)
    with bench.store.open(f"{adapter.prefix}/adapter_model.safetensors") as stream:
        return stream.read()


def test_a_paused_job_ends_with_the_bytes_of_one_left_alone(bench: Bench) -> None:
    whole = submit(bench, max_steps=STEPS)
    bench.attempt()
    assert bench.job(whole).status == "succeeded"
    # Two of its steps fit under the ceiling.
    ceiling = bench.job(whole).reward_queries * 2 // STEPS
    job_id = submit(bench, max_steps=STEPS, max_reward_queries=ceiling, on_exhausted="pause")
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.pause_reason, job.step) == ("paused", "reward_queries", 2)
    with db.transaction() as session:
        who = {"project_id": bench.project_id, "job_id": job_id}
        document = {"budget": {"max_reward_queries": 10 * ceiling}}
        job_patch.patch(session, **who, document=document, seen=None)
        pausing.resume(session, **who)
    bench.attempt()
    job = bench.job(job_id)
    assert (job.status, job.step) == ("succeeded", STEPS)
    assert weights(bench, job_id) == weights(bench, whole)
