"""Stream tokens: what a browser's EventSource opens streams with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api import streams
from domain import api_keys, db, stream_tokens
from domain.callers import Caller
from tests.api.teams import Team, make_team, new_key, post_job

TOKENS = "/v1/stream-tokens"
SSE = {"Accept": "text/event-stream"}


def token(client: TestClient, **body: Any) -> str:
    answer = client.post(TOKENS, json=body, headers=new_key())
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["token"]
    return text


def ended_job(client: TestClient) -> dict[str, Any]:
    """A job whose stream ends by itself."""
    job = post_job(client)
    cancelled = client.post(f"{job['links']['self']}/cancel", headers=new_key())
    assert cancelled.status_code == 202
    return job


def open_stream(client: TestClient, path: str, text: str, **parameters: str) -> Any:
    """The answer to a request that carries a token and no key."""
    key = client.headers.pop("Authorization")
    try:
        return client.get(path, params={"token": text, **parameters}, headers=SSE)
    finally:
        client.headers["Authorization"] = key


def test_a_token_opens_streams_of_its_project_without_a_key(client: TestClient) -> None:
    job = ended_job(client)
    answer = open_stream(client, job["links"]["events"], token(client))
    assert answer.status_code == 200
    assert "event: job.cancelled" in answer.text
    shown = client.post(TOKENS, json={}, headers=new_key()).json()
    assert shown["object"] == "stream_token"
    assert shown["job"] is None


def test_a_token_for_one_job_opens_no_other(client: TestClient) -> None:
    mine, other = ended_job(client), ended_job(client)
    text = token(client, job=mine["id"])
    assert open_stream(client, mine["links"]["events"], text).status_code == 200
    assert open_stream(client, other["links"]["events"], text).status_code == 404
    assert open_stream(client, "/v1/events", text, job=other["id"]).status_code == 404


def test_a_token_opens_nothing_but_streams(client: TestClient) -> None:
    job = ended_job(client)
    text = token(client)
    key = client.headers.pop("Authorization")
    try:
        for path in ("/v1/events", job["links"]["events"]):
            listed = client.get(path, params={"token": text})
            assert (listed.status_code, listed.json()["code"]) == (401, "invalid_stream_token")
        bearer = {"Authorization": f"Bearer {text}"}
        assert client.get("/v1/jobs", headers=bearer).status_code == 401
        assert client.get("/v1/jobs", params={"token": text}).status_code == 401
    finally:
        client.headers["Authorization"] = key


def test_a_token_that_was_touched_or_has_expired_opens_nothing(
    client: TestClient, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ended_job(client)["links"]["events"]
    good = token(client)
    packed, _, signature = good.rpartition(".")
    flipped = "A" if packed[20] != "A" else "B"
    wrong = (f"{packed[:20]}{flipped}{packed[21:]}.{signature}", packed, "", f"{good}x", "é")
    for text in wrong:
        answer = open_stream(client, path, text)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_stream_token")
    monkeypatch.setattr(stream_tokens, "TTL", timedelta(seconds=-1))
    caller = Caller(team.project_id, "", ["jobs:read"], team.key_id, None, None, None)
    late = stream_tokens.issue(caller, job_id=None)
    assert "It was valid until" in open_stream(client, path, late.text).json()["detail"]


def test_a_token_can_do_no_more_than_its_maker_and_ends_with_its_key(
    client: TestClient, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.1)
    path = ended_job(client)["links"]["events"]
    unable = Caller(team.project_id, "", ["usage:read"], team.key_id, None, None, None)
    text = stream_tokens.issue(unable, job_id=None).text
    assert open_stream(client, path, text).json()["code"] == "missing_scope"
    text = token(client)
    with db.transaction() as session:
        api_keys.revoke(session, project_id=team.project_id, key_id=team.key_id)
    assert "event:" not in open_stream(client, path, text).text


def test_who_may_not_read_jobs_gets_no_token(anonymous: TestClient) -> None:
    team = make_team("writers", scopes=["jobs:write"])
    answer = anonymous.post(TOKENS, json={}, headers={**team.headers, **new_key()})
    assert (answer.status_code, answer.json()["scope"]) == (403, "jobs:read")


def test_another_projects_job_gets_none_either(client: TestClient, other_team: Team) -> None:
    job = ended_job(client)
    client.headers.update(other_team.headers)
    answer = client.post(TOKENS, json={"job": job["id"]}, headers=new_key())
    assert answer.status_code == 404
    assert client.post(TOKENS, json={"jobs": []}, headers=new_key()).status_code == 422
