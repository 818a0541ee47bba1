"""A repeated POST acts once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fastapi.testclient import TestClient
from sqlalchemy import func, select

from domain import db
from domain.tables import Job
from tests.api.teams import Team, new_key, post_job
from tests.factories import document


def jobs_stored() -> int:
    with db.read() as session:
        return session.scalars(select(func.count()).select_from(Job)).one()


def test_a_repeated_request_gets_the_first_answer(client: TestClient) -> None:
    key = new_key()
    first = client.post("/v1/jobs", json=document(), headers=key)
    reordered = dict(reversed(document().items()))
    again = client.post("/v1/jobs", json=reordered, headers=key)
    assert again.status_code == first.status_code == 202
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert jobs_stored() == 1


def test_a_key_stands_for_one_request_alone(client: TestClient) -> None:
    key = new_key()
    job = client.post("/v1/jobs", json=document(), headers=key).json()
    for answer in (
        client.post("/v1/jobs", json=document(name="other"), headers=key),
        client.post(job["links"]["cancel"], headers=key),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert client.get(job["links"]["self"]).json()["status"] == "queued"


def test_every_post_needs_a_sound_key(client: TestClient) -> None:
    job = post_job(client)
    for path in ("/v1/jobs", "/v1/prompt-sets", job["links"]["cancel"]):
        answer = client.post(path, json=document())
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")
        answer = client.post(path, json=document(), headers={"Idempotency-Key": "x" * 256})
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert jobs_stored() == 1


def test_a_refused_request_leaves_its_key_free(client: TestClient) -> None:
    key = new_key()
    assert client.post("/v1/jobs", json=document(budget={}), headers=key).status_code == 422
    assert client.post("/v1/jobs", json=document(), headers=key).status_code == 202


def test_keys_of_projects_do_not_meet(client: TestClient, other_team: Team) -> None:
    key = new_key()
    ours = client.post("/v1/jobs", json=document(), headers=key).json()
    theirs = client.post("/v1/jobs", json=document(), headers={**key, **other_team.headers}).json()
    assert ours["id"] != theirs["id"]


def test_of_concurrent_requests_one_acts(client: TestClient) -> None:
    key = new_key()
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: client.post("/v1/jobs", json=document(), headers=key), range(8))
        )
    accepted = [answer for answer in answers if answer.status_code == 202]
    others = [answer for answer in answers if answer.status_code != 202]
    assert jobs_stored() == 1
    assert len({answer.json()["id"] for answer in accepted}) == 1
    assert all(answer.json()["code"] == "idempotency_in_progress" for answer in others)
    assert client.post("/v1/jobs", json=document(), headers=key).status_code == 202
