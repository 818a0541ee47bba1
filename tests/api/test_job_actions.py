"""Pause, resume, cancel many at once, and the table of what may be asked of a job."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from domain import db, ids
from domain.access_tables import AuditEntry
from domain.job_status import TRANSITIONS, Status
from tests import lives, trainer_lines
from tests.api.teams import Team, make_team, new_key, post_job

AT_CEILING = {"max_steps": 20, "max_gpu_seconds": 30, "on_exhausted": "pause"}


def act(client: TestClient, job_id: str, action: str) -> dict[str, object]:
    """The body of an action that was accepted."""
    answer = client.post(f"/v1/jobs/{job_id}/{action}", headers=new_key())
    assert answer.status_code == 202, answer.text
    body: dict[str, object] = answer.json()
    return body


def test_a_job_is_paused_and_resumed(client: TestClient, team: Team) -> None:
    job = post_job(client)
    paused = act(client, job["id"], "pause")
    assert (paused["status"], paused["queue"]) == ("paused", None)
    assert paused["allowed_actions"] == ["cancel", "resume", "patch"]
    assert paused["status_reason"] == "Paused on request."
    assert isinstance(paused["pause"], dict)
    assert (paused["pause"]["reason"], paused["pause"]["expires_at"] is None) == (
        "requested",
        False,
    )
    resumed = act(client, job["id"], "resume")
    assert (resumed["status"], resumed["pause"]) == ("queued", None)
    with db.read() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(entry.action, entry.target) for entry in entries] == [
        ("job.create", job["id"]),
        ("job.pause", job["id"]),
        ("job.resume", job["id"]),
    ]
    assert entries[0].actor_id == team.key_id


def test_a_running_job_pauses_in_the_workers_own_time(client: TestClient) -> None:
    job = post_job(client)
    claim = lives.claimed()
    lives.told(claim, trainer_lines.started(), trainer_lines.step(1))
    pausing = act(client, job["id"], "pause")
    assert (pausing["status"], pausing["allowed_actions"]) == ("pausing", ["cancel", "patch"])
    lives.checkpointed(claim, [1])
    lives.paused(claim)
    paused = client.get(job["links"]["self"]).json()
    assert paused["status"] == "paused"
    assert paused["best_checkpoint"]["step"] == 1
    assert paused["budget"]["steps"]["used"] == 1


def test_a_job_paused_at_a_ceiling_names_it_until_it_is_raised(client: TestClient) -> None:
    job = post_job(client, budget=AT_CEILING)
    claim = lives.claimed()
    lives.told(claim, trainer_lines.started(), trainer_lines.step(12))
    lives.paused(claim, reason="gpu_seconds")
    shown = client.get(job["links"]["self"]).json()
    assert shown["pause"]["reason"] == "gpu_seconds"
    assert shown["status_reason"] == "Paused at max_gpu_seconds: raise it, then resume."
    refused = client.post(job["links"]["resume"], headers=new_key())
    assert (refused.status_code, refused.json()["code"]) == (409, "ceiling_reached")
    assert refused.json()["ceilings"] == ["max_gpu_seconds"]
    raised = client.patch(
        job["links"]["self"],
        json={"budget": {"max_gpu_seconds": 60}},
        headers={"If-Match": "*"},
    )
    assert raised.json()["pause"]["reason"] == "budget_raised"
    assert act(client, job["id"], "resume")["status"] == "queued"


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_what_the_status_does_not_allow_is_refused_with_what_it_does(
    client: TestClient, action: str
) -> None:
    job = post_job(client)
    act(client, job["id"], "cancel")
    answer = client.post(f"/v1/jobs/{job['id']}/{action}", headers=new_key())
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "invalid_transition")
    assert problem["current_status"] == "cancelled"
    assert problem["allowed_actions"] == ["extend", "delete"]


def test_actions_without_settings_take_none(client: TestClient) -> None:
    job = post_job(client)
    answer = client.post(job["links"]["pause"], json={"for_s": 60}, headers=new_key())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/for_s"
    assert client.get(job["links"]["self"]).json()["status"] == "queued"


def test_a_repeated_pause_does_not_pause_what_was_resumed_since(client: TestClient) -> None:
    job, key = post_job(client), new_key()
    first = client.post(job["links"]["pause"], headers=key)
    act(client, job["id"], "resume")
    again = client.post(job["links"]["pause"], headers=key)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert client.get(job["links"]["self"]).json()["status"] == "queued"


def test_many_jobs_are_cancelled_if_they_are_as_many_as_expected(client: TestClient) -> None:
    made = [post_job(client, labels={"team": "ads"})["id"] for _ in range(3)]
    kept = post_job(client, labels={"team": "films"})["id"]
    wish = {"filter": {"status": ["queued"], "labels": {"team": "ads"}}, "expected_count": 2}
    refused = client.post("/v1/jobs/batch-cancel", json=wish, headers=new_key())
    assert (refused.status_code, refused.json()["code"]) == (409, "count_mismatch")
    assert (refused.json()["count"], refused.json()["expected_count"]) == (3, 2)
    assert client.get(f"/v1/jobs/{made[0]}").json()["status"] == "queued"
    answer = client.post(
        "/v1/jobs/batch-cancel", json={**wish, "expected_count": 3}, headers=new_key()
    )
    assert answer.status_code == 202
    assert answer.json() == {
        "count": 3,
        "jobs": [{"id": job_id, "status": "cancelled"} for job_id in made],
    }
    assert client.get(f"/v1/jobs/{kept}").json()["status"] == "queued"


def test_jobs_are_cancelled_by_their_ids(client: TestClient) -> None:
    made = [post_job(client)["id"] for _ in range(2)]
    wish = {"ids": made, "expected_count": 2, "keep_adapter": False}
    answer = client.post("/v1/jobs/batch-cancel", json=wish, headers=new_key())
    assert answer.json()["count"] == 2


@pytest.mark.parametrize(
    ("wish", "pointers"),
    [
        ({"expected_count": 1}, [""]),
        ({"ids": ["job_x"], "filter": {}, "expected_count": 1}, [""]),
        ({"ids": [], "expected_count": -1}, ["/ids", "/expected_count"]),
        ({"ids": ["job_x", "nothing"], "expected_count": 1}, ["/ids/0", "/ids/1"]),
        ({"filter": {"stats": ["queued"]}, "expected_count": 1}, ["/filter/stats"]),
        (
            {"filter": {"parent": "x", "created_by": "y"}, "expected_count": 1},
            ["/filter/created_by", "/filter/parent"],
        ),
    ],
)
def test_a_faulty_batch_cancels_nothing(
    client: TestClient, wish: dict[str, object], pointers: list[str]
) -> None:
    job = post_job(client)
    answer = client.post("/v1/jobs/batch-cancel", json=wish, headers=new_key())
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == pointers
    assert client.get(job["links"]["self"]).json()["status"] == "queued"


def test_another_projects_jobs_cannot_be_acted_upon(client: TestClient, other_team: Team) -> None:
    job = post_job(client)
    rival = {**other_team.headers, **new_key()}
    for action in ("pause", "resume", "cancel"):
        answer = client.post(f"/v1/jobs/{job['id']}/{action}", headers=rival)
        assert answer.status_code == 404
    wish = {"ids": [job["id"]], "expected_count": 1}
    answer = client.post("/v1/jobs/batch-cancel", json=wish, headers=rival)
    assert answer.status_code == 422
    assert client.get(job["links"]["self"]).json()["status"] == "queued"


def test_the_table_of_states_and_actions_is_published(client: TestClient) -> None:
    table = client.get("/v1/job-transitions").json()
    assert table["terminal"] == ["cancelled", "failed", "succeeded"]
    assert table["actions"]["paused"] == ["cancel", "resume", "patch"]
    assert {state: set(ways) for state, ways in table["transitions"].items()} == {
        state.value: {way.value for way in ways} for state, ways in TRANSITIONS.items()
    }
    assert set(table["actions"]) == {status.value for status in Status}


def test_a_reader_may_look_and_not_act(client: TestClient) -> None:
    job = post_job(client)
    reader = make_team("readers", scopes=["jobs:read"])
    for path in (job["links"]["pause"], job["links"]["resume"], "/v1/jobs/batch-cancel"):
        answer = client.post(path, headers={**reader.headers, **new_key()})
        assert (answer.status_code, answer.json()["scope"]) == (403, "jobs:write")
    assert client.get("/v1/job-transitions", headers=reader.headers).status_code == 200
    assert ids.from_public("job", job["id"])
