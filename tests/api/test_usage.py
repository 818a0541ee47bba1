"""Usage and quotas over REST, and what happens when a quota is used up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain import db, quotas
from domain.store import ObjectStore
from tests.api import outputs
from tests.api.teams import Team, new_key, post_job
from tests.factories import document


def used(client: TestClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/v1/usage", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_usage_adds_up_to_what_the_jobs_say(client: TestClient, store: ObjectStore) -> None:
    first = post_job(client, labels={"team": "ads"})
    outputs.succeed(store)
    spent = client.get(first["links"]["self"]).json()["budget"]["gpu_seconds"]["used"]
    assert spent > 0
    body = used(client, group_by="base_model,team", interval="day")
    [row] = body["data"]
    today = db.utc_now().date().isoformat()
    assert (row["from"], row["team"], row["base_model"]) == (today, "ads", first["base_model"])
    assert row["kind"] is None
    assert row["gpu_seconds"] == pytest.approx(spent)
    assert body["total"]["gpu_seconds"] == pytest.approx(spent)
    assert (body["group_by"], body["interval"], body["to"]) == (
        ["base_model", "team"],
        "day",
        today,
    )
    yesterday = (db.utc_now().date() - timedelta(days=1)).isoformat()
    assert used(client, **{"from": yesterday, "to": yesterday})["data"] == []


def test_another_projects_usage_is_not_told(
    client: TestClient, store: ObjectStore, other_team: Team
) -> None:
    post_job(client)
    outputs.succeed(store)
    theirs = client.get("/v1/usage", headers=other_team.headers).json()
    assert (theirs["data"], theirs["total"]["gpu_seconds"]) == ([], 0)


@pytest.mark.parametrize(
    "query",
    [
        {"group_by": "colour"},
        {"from": "2026-02-01", "to": "2026-01-01"},
        {"from": "2024-01-01", "to": "2026-01-01"},
        {"from": "0"},
        {"to": "0001-01-01"},
        {"to": "2026-02-30"},
        {"interval": "hour"},
    ],
)
def test_faulty_questions_are_told_so(client: TestClient, query: dict[str, str]) -> None:
    answer = client.get("/v1/usage", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_quotas_tell_limit_and_use(client: TestClient, team: Team) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, queued_jobs=2, gpu_seconds_a_month=50)
    post_job(client)
    found = {quota["name"]: quota for quota in client.get("/v1/quotas").json()["data"]}
    assert set(found) == set(quotas.NAMES)
    assert found["queued_jobs"] == {
        "name": "queued_jobs",
        "limit": 2,
        "used": 1,
        "left": 1,
        "resets_at": None,
        "when_used_up": "refused",
    }
    assert found["gpu_seconds_a_month"]["resets_at"].endswith("-01T00:00:00Z")
    assert found["storage_bytes"]["left"] is None
    assert found["running_jobs"]["when_used_up"] == "queued_jobs_wait"


def test_a_job_beyond_the_quota_is_refused_and_leaves_nothing(
    client: TestClient, team: Team
) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, queued_jobs=1)
    post_job(client)
    key = new_key()
    answer = client.post("/v1/jobs", json=document(), headers=key)
    assert (answer.status_code, answer.json()["code"]) == (403, "project_quota_exhausted")
    problem = answer.json()
    assert (problem["quota"], problem["limit"], problem["used"]) == ("queued_jobs", 1, 1)
    assert problem["resets_at"] is None
    assert len(client.get("/v1/jobs").json()["data"]) == 1
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, queued_jobs=2)
    assert client.post("/v1/jobs", json=document(), headers=key).status_code == 202
