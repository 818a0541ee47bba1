"""Rate limits over REST: what answers say, when requests are refused, and that Redis holds up nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import redis
from fastapi.testclient import TestClient

from api.app import create_app
from domain.settings import Settings
from tests import lives
from tests.api.teams import Team, new_key
from tests.factories import document


@pytest.fixture
def limited(
    settings: Settings, team: Team, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A client of a service that allows 5 requests a minute, 2 of them POSTs, and 3 attempts to sign in."""
    few = {"rate_limit_requests": "5", "rate_limit_creates": "2", "rate_limit_logins": "3"}
    with (
        lives.changed_settings(monkeypatch, **few),
        TestClient(create_app(), raise_server_exceptions=False) as client,
    ):
        client.headers.update(team.headers)
        yield client


def test_answers_say_what_is_left_and_refusals_when_to_go_on(limited: TestClient) -> None:
    left = []
    for _ in range(5):
        answer = limited.get("/v1/me")
        assert answer.headers["RateLimit-Policy"] == '"default";q=5;w=60'
        name, remaining, resets = answer.headers["RateLimit"].split(";")
        assert (name, resets[:2]) == ('"default"', "t=")
        left.append(remaining)
    assert left == ["r=4", "r=3", "r=2", "r=1", "r=0"]
    refused = limited.get("/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert (refused.json()["retryable"], refused.json()["policy"]) == (True, "default")


def test_posts_are_counted_apart(limited: TestClient) -> None:
    for status in (202, 202, 429):
        answer = limited.post("/v1/jobs", json=document(), headers=new_key())
        assert answer.status_code == status
    assert answer.json()["policy"] == "create"
    policies = limited.get("/v1/me").headers["RateLimit-Policy"]
    assert policies == '"default";q=5;w=60'


def test_a_key_does_not_use_up_anothers_limit(limited: TestClient, other_team: Team) -> None:
    while limited.get("/v1/me").status_code == 200:
        pass
    assert limited.get("/v1/me", headers=other_team.headers).status_code == 200


def test_attempts_to_sign_in_are_few(limited: TestClient) -> None:
    body = {"email": "ada@example.com", "password": "not this one"}
    answers = [limited.post("/v1/sessions", json=body) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_what_needs_no_credential_is_not_counted(limited: TestClient) -> None:
    for _ in range(7):
        answer = limited.get("/livez")
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


def test_no_limits_are_no_headers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    off = {"rate_limit_requests": "0", "rate_limit_creates": "0", "rate_limit_logins": "0"}
    with lives.changed_settings(monkeypatch, **off), TestClient(create_app()) as unlimited:
        unlimited.headers.update(client.headers)
        answer = unlimited.post("/v1/jobs", json=document(), headers=new_key())
    assert answer.status_code == 202
    assert "RateLimit" not in answer.headers


def test_jobs_are_accepted_while_redis_is_frozen(
    client: TestClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of them waits a quarter of a second for Redis, the others not at all."""
    url = settings.redis_url.get_secret_value()
    with redis.Redis.from_url(url) as connection:
        process = int(connection.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    try:
        for _ in range(3):
            answer = client.post("/v1/jobs", json=document(), headers=new_key())
            assert answer.status_code == 202
    finally:
        os.kill(process, signal.SIGCONT)
    alone = [line for line in caplog.messages if line.startswith("rate limits count alone")]
    assert len(alone) == 1
