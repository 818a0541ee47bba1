"""What a new job needs of the one before, and what it is told where that is gone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain import artifacts, db
from domain.ids import from_public
from domain.job_status import Status
from domain.store import ObjectStore
from domain.tables import Job
from tests import lives, locks
from tests.api import outputs
from tests.api.successions import PASSING, act, checkpoints, failed, made, pointers
from tests.api.teams import new_key, post_job
from tests.worker.waiting import wait_until


@pytest.fixture
def job(client: TestClient, store: ObjectStore) -> dict[str, Any]:
    """A job of 20 steps that ended well, with checkpoints of steps 10 and 20."""
    path = post_job(client, name="first", labels={"team": "ads"})["links"]["self"]
    outputs.succeed(store)
    body: dict[str, Any] = client.get(path).json()
    return body


def test_a_retry_of_a_retry_needs_what_that_started_from(client: TestClient) -> None:
    first = failed(client, PASSING, checkpoints=(10,))
    second = made(client, first, "retry")
    claim = outputs.start()
    lives.ended(claim, Status.FAILED, error=PASSING)
    third = made(client, second, "retry")
    assert third["starts_from"]["id"] == checkpoints(client, first)[10]
    lives.ended(outputs.start(), Status.FAILED, error=PASSING)
    assert client.delete(first["links"]["self"]).status_code == 200
    answer = act(client, third, "retry")
    assert pointers(answer) == {"/init_from/checkpoint": "artifact_expired"}


def test_a_deadline_that_has_passed_is_replaced_or_taken_away(client: TestClient) -> None:
    first, second = (f"{db.utc_now().year + 1}-0{month}-01T00:00:00Z" for month in (1, 2))
    asked = post_job(client, budget={"max_steps": 20, "deadline_at": first})
    claim = outputs.start()
    lives.ended(claim, Status.FAILED, error=PASSING)
    with db.transaction() as session:
        job = session.get_one(Job, claim.job_id)
        job.budget = {**job.budget, "deadline_at": "2026-01-01T00:00:00Z"}
    assert list(pointers(act(client, asked, "retry"))) == ["/deadline_at"]
    later = made(client, asked, "retry", {"deadline_at": second})
    assert later["budget"]["deadline_at"] == second
    without = made(client, asked, "retry", {"deadline_at": None})
    assert without["budget"]["deadline_at"] is None


def test_what_a_retry_needs_and_is_gone_is_told(client: TestClient) -> None:
    old = failed(client, PASSING, checkpoints=(10,))
    with db.transaction() as session:
        job = session.get_one(Job, from_public("job", old["id"]))
        job.spec = {**job.spec, "base_model": "gone@1"}
    answer = act(client, old, "retry")
    assert answer.status_code == 422
    assert "At /base_model of the job's spec" in answer.json()["errors"][0]["detail"]


def test_a_spec_that_nobody_can_read_any_more_is_no_start(
    client: TestClient, job: dict[str, Any]
) -> None:
    with db.transaction() as session:
        row = session.get_one(Job, from_public("job", job["id"]))
        row.spec = {**row.spec, "adapter": {"shape": "of long ago"}}
    document = {**job["spec"], "init_from": {"checkpoint": checkpoints(client, job)[20]}}
    answer = client.post("/v1/jobs", json=document, headers=new_key())
    assert pointers(answer) == {"/init_from/checkpoint": "spec_unusable"}
    assert act(client, job, "extend").status_code == 422


def test_a_checkpoint_is_no_start_when_it_was_given_up_while_its_job_was_locked(
    client: TestClient,
) -> None:
    asked = post_job(client)
    claim = outputs.start()
    lives.checkpointed(claim, (10, 20))
    start = {"checkpoint": checkpoints(client, asked)[10]}
    document = {**asked["spec"], "init_from": start}
    answers: list[Any] = []

    def post() -> None:
        answers.append(client.post("/v1/jobs", json=document, headers=new_key()))

    holder = {"job_id": claim.job_id, "attempt": claim.attempt}
    thread = threading.Thread(target=post)
    with db.transaction() as session:
        artifacts.prune_checkpoints(session, **holder, keep_last=1)
        thread.start()
        wait_until(locks.somebody_waits, within_s=20)
    thread.join()
    assert pointers(answers[0]) == {"/init_from/checkpoint": "artifact_expired"}
