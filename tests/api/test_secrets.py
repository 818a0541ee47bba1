"""Planted secrets are in no log, in no answer but the one that hands them out, and in no row as text."""

from __future__ import annotations

import logging

import psycopg
import pytest
from fastapi.testclient import TestClient

from domain.settings import Settings
from tests.api.teams import Team, new_key

PASSWORD = "correct horse battery canary"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


def planted(client: TestClient, team: Team) -> dict[str, str]:
    """A secret of each kind, handed out by the service or given to it."""
    key = client.post(
        "/v1/api-keys", json={"name": "ci", "scopes": ["jobs:read"]}, headers=new_key()
    ).json()["api_key"]
    endpoint = client.post(
        "/v1/webhook-endpoints", json={"url": "https://example.com/hook"}, headers=new_key()
    ).json()
    member = {"email": "ada@example.com", "name": "Ada"}
    invited = client.post("/v1/members", json=member, headers=new_key()).json()
    accepted = {"token": invited["invitation_token"], "password": PASSWORD}
    assert client.post("/v1/invitations/accept", json=accepted).status_code == 200
    signed_in = client.post("/v1/sessions", json={"email": "ada@example.com", "password": PASSWORD})
    stream = client.post("/v1/stream-tokens", json={}, headers=new_key()).json()
    return {
        "team key": team.token,
        "api key": key,
        "webhook secret": endpoint["secret"],
        "invitation": invited["invitation_token"],
        "password": PASSWORD,
        "session": signed_in.cookies["vader_session"],
        "stream token": stream["token"],
    }


def provoked(client: TestClient, secrets: dict[str, str]) -> list[str]:
    """Answers to requests that carry the secrets where they belong, and where they do not."""
    answers = []
    for secret in secrets.values():
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"Authorization": f"Basic {secret}"},
            {"Authorization": "", "Cookie": f"vader_session={secret}", **OWN_PAGE},
        ):
            answers.append(client.get("/v1/me", headers=headers).text)
            answers.append(client.get("/v1/jobs/job_none", headers=headers).text)
            answers.append(client.post("/v1/jobs", content=b"{", headers=headers).text)
        wrong = {"email": "ada@example.com", "password": f"{secret}!"}
        answers.append(client.post("/v1/sessions", json=wrong).text)
        used = {"token": secret, "password": "a password that is new"}
        answers.append(client.post("/v1/invitations/accept", json=used).text)
        in_query = client.get("/v1/events", params={"token": secret})
        answers.append(in_query.text)
    for path in ("api-keys", "members", "webhook-endpoints", "audit-log", "sessions?whose=all"):
        answers.append(client.get(f"/v1/{path}").text)
    return answers


def rows_as_text(database_url: str) -> str:
    """Everything that the database holds."""
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        return "\n".join(
            str(row) for (name,) in tables for row in connection.execute(f"TABLE {name}")
        )


@pytest.mark.usefixtures("cheap_passwords")
def test_secrets_are_neither_logged_nor_answered_nor_stored(
    client: TestClient, team: Team, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = planted(client, team)
    assert len(set(secrets.values())) == len(secrets)
    answers = "\n".join(provoked(client, secrets))
    stored = rows_as_text(settings.database_url.get_secret_value())
    logged = "\n".join(
        f"{record.getMessage()} {record.__dict__}"
        for record in caplog.records
        # The test's own client logs what it asks for.
        if not record.name.startswith(("httpx", "httpcore"))
    )
    for name, secret in secrets.items():
        assert secret not in logged, f"{name} is logged"
        assert secret not in stored, f"{name} is stored"
        assert secret not in answers, f"{name} is answered"
    assert settings.secret_key.get_secret_value() not in logged + stored + answers
    assert "api.access" in {record.name for record in caplog.records}
