"""First images: from the store into the attempt's folder, before the trainer starts."""

from __future__ import annotations

import hashlib

import pytest

from domain import db, events
from domain.settings import Settings
from domain.store import open_store
from domain.upload_table import Upload
from tests.worker.bench import Bench


@pytest.fixture
def bench(worker_settings: Settings) -> Bench:
    return Bench(worker_settings, open_store(worker_settings))


def prompts(*images: str) -> dict[str, object]:
    return {"inline": [{"prompt": f"picture {i}", "image": name} for i, name in enumerate(images)]}


def test_the_trainer_finds_the_first_images_by_the_names_in_the_prompts(bench: Bench) -> None:
    first, second = bench.upload(b"one"), bench.upload(b"two")
    job_id = bench.submit(prompts=prompts(first, second, first))
    bench.attempt()
    assert bench.job(job_id).status == "succeeded"
    with db.read() as session:
        told = events.list_after(session, job_id=job_id, types=["job.warning"])
    hashes = [hashlib.sha256(data).hexdigest() for data in (b"one", b"two", b"one")]
    assert [event.message for event in told] == hashes


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_first_image_that_is_not_what_was_uploaded_fails_the_job(bench: Bench, harm: str) -> None:
    name = bench.upload(b"one")
    job_id = bench.submit(prompts=prompts(name))
    with db.transaction() as session:
        row = session.query(Upload).one()
        if harm == "gone":
            bench.store.delete(row.key)
        else:
            row.sha256 = "0" * 64
    bench.attempt()
    job = bench.job(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["retryable"]) == ("first_image_lost", False)
    assert name in job.error["message"]
