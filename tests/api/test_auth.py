"""API keys: who may do what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient

from domain import api_keys, db
from tests.api.files import post_file
from tests.api.teams import Team, new_key, post_job
from tests.factories import document


def test_without_a_good_key_nothing_is_answered(anonymous: TestClient, team: Team) -> None:
    tampered = team.token[:-1] + ("0" if team.token[-1] != "0" else "1")
    for authorization in (
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        f"Basic {team.token}",
        f"Bearer {tampered}",
        f"Bearer {team.token}x",
        "Bearer vdr_live_AAAAAAAA_secret_00000000",
        "Bearer \u00fc".encode("latin-1"),
    ):
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = anonymous.get("/v1/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_key_is_checked_before_anything_else(anonymous: TestClient) -> None:
    for answer in (
        anonymous.get("/v1/jobs", params={"limit": "many", "stauts": "x"}),
        anonymous.post("/v1/jobs", content=b"{", headers={"Content-Type": "text/plain"}),
        anonymous.get("/v1/jobs/job_nonsense"),
    ):
        assert answer.status_code == 401


def test_a_revoked_key_ends_at_once(client: TestClient, team: Team) -> None:
    assert client.get("/v1/me").status_code == 200
    with db.transaction() as session:
        api_keys.revoke(session, project_id=team.project_id, key_id=team.key_id)
    assert client.get("/v1/me").json()["code"] == "invalid_api_key"


def test_an_expired_key_is_told_so(anonymous: TestClient, team: Team) -> None:
    with db.transaction() as session:
        _, token = api_keys.create(
            session,
            project_id=team.project_id,
            name="old",
            expires_at=datetime.now(UTC) - timedelta(seconds=1),
        )
    answer = anonymous.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "expired_api_key")


def test_a_key_can_do_what_its_scopes_say_and_no_more(client: TestClient, team: Team) -> None:
    job = post_job(client)
    prompts = {"name": "ways", "prompts": document()["prompts"]["inline"]}
    calls: dict[str, Callable[[], Any]] = {
        "jobs:read": lambda: client.get(job["links"]["self"]),
        "jobs:write": lambda: client.post("/v1/jobs", json=document(), headers=new_key()),
        "prompt_sets:write": lambda: client.post(
            "/v1/prompt-sets", json=prompts, headers=new_key()
        ),
        "uploads:write": lambda: post_file(client),
        "artifacts:read": lambda: client.get(f"{job['links']['self']}/sheet"),
    }
    assert set(calls) == set(api_keys.ALL_SCOPES)
    for scope in calls:
        with db.transaction() as session:
            _, token = api_keys.create(
                session, project_id=team.project_id, name="narrow", scopes=[scope]
            )
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/v1/me").json()["api_key"]["scopes"] == [scope]
        for needed, call in calls.items():
            answer = call()
            if needed == scope:
                assert answer.status_code != 403, needed
            else:
                assert (answer.status_code, answer.json()["scope"]) == (403, needed)


def test_me_tells_project_and_key(client: TestClient) -> None:
    body = client.get("/v1/me").json()
    assert body["project"]["name"] == "ads"
    assert body["api_key"]["name"] == "ads-ci"
    assert "token" not in str(body)
