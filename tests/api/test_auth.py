"""API keys: who may do what."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from api import access
from domain import api_keys, db, remembered
from domain.callers import Caller
from domain.tables import ApiKey
from tests.api.teams import Team


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


def test_a_key_that_another_process_revoked_ends_within_two_seconds(
    client: TestClient, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/v1/me").status_code == 200
    with db.transaction() as session:
        session.get_one(ApiKey, team.key_id).revoked_at = db.utc_now()
    later = time.monotonic() + remembered.KEPT_S
    monkeypatch.setattr(remembered.remembered, "_clock", lambda: later)
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


def test_me_tells_project_and_key(client: TestClient) -> None:
    body = client.get("/v1/me").json()
    assert body["project"]["name"] == "ads"
    assert body["api_key"]["name"] == "ads-ci"
    assert "token" not in str(body)


@pytest.mark.parametrize("kind", ["key", "session"])
def test_a_malformed_credential_costs_neither_thread_nor_database(
    anonymous: TestClient, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_up(credential: str) -> Caller:
        raise AssertionError(credential)

    monkeypatch.setattr(access, "verify", looked_up)
    headers = {
        "key": {"Authorization": "Bearer vdr_live_AAAAAAAA_secret_00000000"},
        "session": {"Cookie": "vader_session=vdr_session_short"},
    }
    code = {"key": "invalid_api_key", "session": "not_signed_in"}
    answer = anonymous.get("/v1/me", headers=headers[kind])
    assert (answer.status_code, answer.json()["code"]) == (401, code[kind])


def test_a_cookie_holds_a_session_and_no_key(anonymous: TestClient, team: Team) -> None:
    headers = {"Cookie": f"vader_session={team.token}", "Sec-Fetch-Site": "same-origin"}
    answer = anonymous.get("/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
