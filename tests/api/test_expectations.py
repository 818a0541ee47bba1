"""What is known of a job's memory when it is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from domain import db, ids, quotas
from domain.capacity import Need
from domain.job_status import Status
from domain.memory_estimates import GIB
from domain.settings import Settings
from domain.similar_runs import FEWEST_RUNS
from domain.tables import Job
from tests import lives
from tests.api.successions import PASSING, act, made
from tests.api.teams import Team, post_job
from tests.factories import document
from tests.past_runs import alive, ran
from vader_core.catalogue import BUILT_IN

MODEL = "wan2.1-t2v-1.3b"
BIG: dict[str, Any] = {"base_model": MODEL, "guards": [], "video": {}}
SMALL, LARGE = "1 x NVIDIA L4 (24 GiB)", "1 x NVIDIA H200 (141 GiB)"


@pytest.fixture
def client(settings: Settings, team: Team, tmp_path: Path) -> Iterator[TestClient]:
    """A client of an API that finds the weights of a large base model."""
    placed = BUILT_IN.base_models[MODEL].weights.place(MODEL, tmp_path)
    placed.mkdir(parents=True)
    (placed / "model_index.json").write_text("{}")
    app = create_app(settings.model_copy(update={"weights_dir": tmp_path}))
    with TestClient(app) as client:
        client.headers.update(team.headers)
        yield client


def need_of(shown: dict[str, Any]) -> Need:
    with db.read() as session:
        job = session.get_one(Job, ids.from_public("job", shown["id"]))
        return Need(job.least_gib, job.peak_gib)


def estimated(client: TestClient) -> Need:
    said = client.post("/v1/jobs/dry-run", json=document(**BIG)).json()["estimate"]["vram_gib"]
    return Need(said["at_least"], said["peak"])


def same(one: Need, other: Need) -> bool:
    """But for the rounding of what is shown."""
    assert None not in (one.least, one.peak)
    return one.least == pytest.approx(other.least, abs=0.01) and one.peak == pytest.approx(
        other.peak, abs=0.01
    )


def failed(job_id: UUID) -> None:
    """Lets the only job fail after a checkpoint."""
    claim = lives.claimed(hardware=LARGE)
    assert claim.job_id == job_id
    lives.checkpointed(claim)
    lives.ended(claim, Status.FAILED, error=PASSING)


@pytest.mark.parametrize("expect", [{}, {"max_estimated_cost": {"amount": "45"}}])
def test_a_job_keeps_what_it_is_estimated_to_take(
    client: TestClient, expect: dict[str, Any]
) -> None:
    alive(LARGE)
    job = post_job(client, **BIG, expect=expect)
    assert same(need_of(job), estimated(client))


def test_what_like_jobs_took_on_gpus_goes_before_what_was_computed(client: TestClient) -> None:
    alive(LARGE)
    for _ in range(FEWEST_RUNS):
        ran(hardware=LARGE)
    # The peak that the trainer told of, in bytes: 10**9.
    assert need_of(post_job(client)) == Need(None, 10**9 / GIB)


def test_its_successors_keep_it_too(client: TestClient) -> None:
    alive(LARGE)
    job = post_job(client, **BIG)
    need = need_of(job)
    failed(ids.from_public("job", job["id"]))
    for action in ("retry", "extend"):
        assert same(need_of(made(client, job, action)), need)


def ended_short_of_memory(job: dict[str, Any], *, least: float) -> None:
    """Lets the only job fail after it was learnt that it needs more."""
    job_id = ids.from_public("job", job["id"])
    failed(job_id)
    with db.transaction() as session:
        session.get_one(Job, job_id).least_gib = least


def test_an_extension_keeps_what_was_learnt_where_it_takes_the_same(client: TestClient) -> None:
    alive(LARGE)
    job = post_job(client)
    ended_short_of_memory(job, least=81.0)
    assert need_of(made(client, job, "extend", {"state": "weights"})).least == 81.0
    less = {"state": "weights", "overrides": {"video": {"num_frames": 4}}}
    assert need_of(made(client, job, "extend", less)).least is None


@pytest.mark.parametrize("action", ["retry", "extend"])
def test_what_no_gpu_held_is_not_tried_again_on_the_same(client: TestClient, action: str) -> None:
    alive(LARGE)
    job = post_job(client)
    ended_short_of_memory(job, least=142.0)
    refused = act(client, job, action)
    assert (refused.status_code, refused.json()["code"]) == (422, "does_not_fit_gpu")
    assert refused.json()["needs_gib"] == 142.0


def test_of_a_base_model_that_was_not_computed_nothing_is_known(client: TestClient) -> None:
    assert need_of(post_job(client)) == Need(None, None)


def test_a_job_that_no_living_worker_can_hold_says_so(client: TestClient) -> None:
    alive(LARGE)
    job = post_job(client, **BIG)
    with db.transaction() as session:
        session.get_one(Job, ids.from_public("job", job["id"])).least_gib = 141.5
    listed = client.get("/v1/jobs").json()["data"][0]
    for shown in (client.get(job["links"]["self"]).json(), listed):
        assert shown["queue"]["reason"] == "no_fitting_gpu"
        assert shown["queue"]["eta_at"] is None
        assert shown["status_reason"] == (
            "Waits for a worker with 142 GiB on one GPU: none that is there has as much."
        )
    alive("CPU, 2 cores, 16 GiB", name="worker-2")
    assert client.get(job["links"]["self"]).json()["queue"]["reason"] == "no_free_gpu"


def test_that_no_gpu_fits_is_told_before_a_quota(client: TestClient, team: Team) -> None:
    job = post_job(client)
    alive(SMALL)
    with db.transaction() as session:
        session.get_one(Job, ids.from_public("job", job["id"])).least_gib = 80.0
        quotas.set_limits(session, team.project_id, running_jobs=0)
    assert client.get(job["links"]["self"]).json()["queue"]["reason"] == "no_fitting_gpu"
    alive(LARGE, name="worker-2")
    assert client.get(job["links"]["self"]).json()["queue"]["reason"] == "project_concurrency"


def test_a_job_has_the_memory_that_its_dry_run_shows(client: TestClient) -> None:
    """Whoever is there, and whether or not the whole estimate was needed to make it."""
    for _ in range(FEWEST_RUNS):
        ran(hardware=LARGE)
    ran(hardware="CPU, 2 cores, 16 GiB")
    cost = {"max_estimated_cost": {"amount": "45"}}
    for hardware in (None, "CPU, 2 cores, 16 GiB", SMALL):
        if hardware is not None:
            alive(hardware, name=hardware)
        shown = client.post("/v1/jobs/dry-run", json=document()).json()["estimate"]["vram_gib"]
        assert shown["basis"] == "measured"
        needs = [need_of(post_job(client)), need_of(post_job(client, expect=cost))]
        assert needs[0] == needs[1]
        assert needs[0].peak == pytest.approx(shown["peak"], abs=0.01)
