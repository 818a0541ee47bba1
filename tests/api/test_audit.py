"""The audit log over REST: what people and keys did, with the request that they did it in."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain.ids import to_public
from tests.api.teams import Team, new_key, post_job

pytestmark = pytest.mark.usefixtures("cheap_passwords")


def entries(client: TestClient, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/audit-log", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def test_what_is_done_is_in_the_log_with_its_request(client: TestClient, team: Team) -> None:
    headers = {**new_key(), "X-Request-Id": "build-17"}
    body = {"name": "ci", "scopes": ["jobs:read"]}
    made = client.post("/v1/api-keys", json=body, headers=headers).json()
    client.patch(f"/v1/api-keys/{made['id']}", json={"name": "ci-2"})
    client.delete(f"/v1/api-keys/{made['id']}")
    member = {"email": "ada@example.com", "name": "Ada", "role": "viewer"}
    invited = client.post("/v1/members", json=member, headers=new_key()).json()
    accepted = {"token": invited["invitation_token"], "password": "a long and private phrase"}
    client.post("/v1/invitations/accept", json=accepted)
    client.delete(f"/v1/members/{invited['id']}")

    found = entries(client)
    assert [entry["action"] for entry in found] == [
        *("member.remove", "member.join", "member.invite"),
        *("api_key.revoke", "api_key.rename", "api_key.create"),
    ]
    created = found[-1]
    assert created["actor"] == {
        "type": "api_key",
        "id": to_public("key", team.key_id),
        "name": "ads-ci",
    }
    assert (created["target"], created["request_id"]) == (made["id"], "build-17")
    assert created["address"] == "testclient"
    assert created["details"] == {"name": "ci", "scopes": ["jobs:read"]}
    assert found[1]["actor"] == {"type": "member", "id": invited["id"], "name": "Ada"}


def test_a_repeated_request_is_logged_once_and_a_refused_one_not(client: TestClient) -> None:
    key, body = new_key(), {"name": "ci", "scopes": ["jobs:read"]}
    for _ in range(2):
        assert client.post("/v1/api-keys", json=body, headers=key).status_code == 201
    client.post("/v1/api-keys", json={"name": ""}, headers=new_key())
    assert [entry["action"] for entry in entries(client)] == ["api_key.create"]


def test_jobs_are_in_the_log(client: TestClient) -> None:
    job = post_job(client)
    client.post(f"{job['links']['self']}/cancel", headers=new_key())
    assert [entry["action"] for entry in entries(client, target=job["id"])] == [
        "job.cancel",
        "job.create",
    ]


def test_the_log_is_paged_and_filtered(client: TestClient, other_team: Team) -> None:
    for number in range(3):
        body = {"name": f"ci-{number}", "scopes": ["jobs:read"]}
        client.post("/v1/api-keys", json=body, headers=new_key())
    first = client.get("/v1/audit-log", params={"limit": 2}).json()
    rest = entries(client, limit=2, cursor=first["next_cursor"])
    assert [entry["details"]["name"] for entry in [*first["data"], *rest]] == [
        *("ci-2", "ci-1", "ci-0"),
    ]
    other_filter = {"cursor": first["next_cursor"], "action": "api_key"}
    assert client.get("/v1/audit-log", params=other_filter).json()["code"] == "invalid_cursor"
    assert entries(client, action="member") == []
    assert len(entries(client, action="api_key", actor_type="api_key")) == 3
    assert client.get("/v1/audit-log", headers=other_team.headers).json()["data"] == []
