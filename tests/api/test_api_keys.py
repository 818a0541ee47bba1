"""API keys over REST: made, rotated, renamed, revoked; nobody gives more than he has."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from domain import api_keys, db
from domain.service_tables import IdempotencyKey
from domain.tables import ApiKey
from tests.api.teams import Team, new_key


def make(client: TestClient, **fields: Any) -> dict[str, Any]:
    body = {"name": "ci", "scopes": ["jobs:read"], **fields}
    answer = client.post("/v1/api-keys", json=body, headers=new_key())
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_new_key_opens_what_its_scopes_say(client: TestClient) -> None:
    made = make(client, scopes=["jobs:read", "usage:read"], name="reader")
    assert made["api_key"].startswith(made["hint"])
    me = client.get("/v1/me", headers=bearer(made["api_key"])).json()
    assert (me["api_key"]["id"], me["scopes"]) == (made["id"], ["jobs:read", "usage:read"])
    assert me["member"] is None
    refused = client.post("/v1/jobs", json={}, headers={**new_key(), **bearer(made["api_key"])})
    assert refused.json()["scope"] == "jobs:write"


def test_the_text_is_shown_once_and_stored_nowhere(client: TestClient) -> None:
    key = new_key()
    body = {"name": "ci", "scopes": ["jobs:read"]}
    first = client.post("/v1/api-keys", json=body, headers=key)
    again = client.post("/v1/api-keys", json=body, headers=key)
    text = first.json()["api_key"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == {**first.json(), "api_key": None}
    shown = client.get(first.headers["Location"]).json()
    assert "api_key" not in shown
    with db.read() as session:
        stored = session.scalars(select(IdempotencyKey.body)).all()
        rows = session.scalars(select(ApiKey)).all()
        assert text.split("_")[3] not in repr([stored, [vars(row) for row in rows]])


def test_nobody_gives_a_scope_that_he_does_not_have(client: TestClient) -> None:
    narrow = make(client, scopes=["keys:write", "jobs:read"])
    headers = bearer(narrow["api_key"])
    wider = {"name": "wider", "scopes": ["jobs:read", "jobs:write"]}
    refused = client.post("/v1/api-keys", json=wider, headers={**new_key(), **headers})
    assert (refused.status_code, refused.json()["scope"]) == (403, "jobs:write")
    admin = {"email": "a@example.com", "name": "A", "role": "admin"}
    refused = client.post("/v1/members", json=admin, headers={**new_key(), **headers})
    assert refused.status_code == 403
    same = {"name": "same", "scopes": ["jobs:read", "keys:write"]}
    assert (
        client.post("/v1/api-keys", json=same, headers={**new_key(), **headers}).status_code == 201
    )


def test_keys_are_rotated_without_a_gap(client: TestClient, team: Team) -> None:
    old = make(client, name="ci-old")
    new = make(client, name="ci-new")
    for key in (old, new):
        assert client.get("/v1/jobs", headers=bearer(key["api_key"])).status_code == 200
    assert client.delete(f"/v1/api-keys/{old['id']}").status_code == 204
    refused = client.get("/v1/jobs", headers=bearer(old["api_key"]))
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")
    assert client.get("/v1/jobs", headers=bearer(new["api_key"])).status_code == 200
    assert client.get(f"/v1/api-keys/{old['id']}").json()["revoked_at"] is not None
    assert client.delete(f"/v1/api-keys/{old['id']}").status_code == 204
    names = [key["name"] for key in client.get("/v1/api-keys").json()["data"]]
    assert names == ["ci-new", "ads-ci"]


def test_a_key_expires_when_it_was_told_to(client: TestClient) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = make(client, expires_at=soon.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == soon
    with db.transaction() as session:
        key = session.scalars(select(ApiKey).where(ApiKey.expires_at.is_not(None))).one()
        key.expires_at = datetime.now(UTC)
    refused = client.get("/v1/me", headers=bearer(made["api_key"]))
    assert (refused.status_code, refused.json()["code"]) == (401, "expired_api_key")


def test_keys_are_renamed_and_their_use_is_shown(client: TestClient) -> None:
    made = make(client)
    path = f"/v1/api-keys/{made['id']}"
    assert client.get(path).json()["last_used_at"] is None
    client.get("/v1/me", headers=bearer(made["api_key"]))
    assert client.patch(path, json={"name": " nightly "}).json()["name"] == "nightly"
    shown = client.get(path).json()
    assert shown["name"] == "nightly"
    assert shown["last_used_at"] is not None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["jobs:read", "everything"]}, "/scopes/1"),
        ({"name": " "}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2040-01-01T00:00:00"}, "/expires_at"),
        ({"secret": "mine"}, "/secret"),
    ],
)
def test_faulty_wishes_are_told_so(
    client: TestClient, change: dict[str, Any], pointer: str
) -> None:
    body = {"name": "ci", "scopes": ["jobs:read"], **change}
    answer = client.post("/v1/api-keys", json=body, headers=new_key())
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


def test_a_key_ends_no_later_than_the_key_that_made_it(client: TestClient) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    parent = make(client, scopes=["keys:write"], expires_at=soon.isoformat())
    headers = {**new_key(), **bearer(parent["api_key"])}
    later = {"name": "n", "scopes": ["keys:write"], "expires_at": "2099-01-01T00:00:00Z"}
    refused = client.post("/v1/api-keys", json=later, headers=headers)
    assert refused.status_code == 422
    [fault] = refused.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/expires_at", "too_late")
    unsaid = {"name": "n", "scopes": ["keys:write"]}
    child = client.post("/v1/api-keys", json=unsaid, headers=headers).json()
    assert datetime.fromisoformat(child["expires_at"]) == soon
    assert make(client)["expires_at"] is None


def test_so_many_keys_hold_and_no_more(client: TestClient, team: Team) -> None:
    with db.transaction() as session:
        own = {"project_id": team.project_id, "name": "n"}
        past = datetime.now(UTC) - timedelta(hours=1)
        api_keys.create(session, **own, expires_at=past)  # type: ignore[arg-type]
        for _ in range(api_keys.MAX_ACTIVE - 2):
            api_keys.create(session, **own)  # type: ignore[arg-type]
    last = make(client)
    body = {"name": "ci", "scopes": ["jobs:read"]}
    refused = client.post("/v1/api-keys", json=body, headers=new_key())
    assert (refused.status_code, refused.json()["code"]) == (403, "project_quota_exhausted")
    assert (refused.json()["quota"], refused.json()["used"]) == ("api_keys", api_keys.MAX_ACTIVE)
    client.delete(f"/v1/api-keys/{last['id']}")
    make(client)
