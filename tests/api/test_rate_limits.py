"""Rate limits over REST: what answers say, when requests are refused, and that Redis holds up nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from api.app import create_app
from domain import api_keys, db, remembered
from domain.settings import Settings
from tests import lives
from tests.api.teams import Team, new_key
from tests.factories import document


@pytest.fixture
def limited(
    settings: Settings, team: Team, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A client of a service that allows 5 requests a minute, 2 of them POSTs, 3 attempts to sign in by
    one email and address, 6 from one address, 8 by one email, 3 failures, and 7 requests of a project, 3 of
    them POSTs."""
    few = {
        "rate_limit_requests": "5",
        "rate_limit_creates": "2",
        "rate_limit_project_creates": "3",
        "rate_limit_project": "7",
        "rate_limit_logins": "3",
        "rate_limit_logins_address": "6",
        "rate_limit_logins_email": "8",
        "rate_limit_failures": "3",
    }
    with (
        lives.changed_settings(monkeypatch, **few),
        TestClient(create_app(), raise_server_exceptions=False) as client,
    ):
        client.headers.update(team.headers)
        # No minute ends on the way.
        client.app.state.rate_limiter._clock = lambda: 1_000_000 * 60 + 15.0  # type: ignore[attr-defined]
        yield client


def test_answers_say_what_is_left_and_refusals_when_to_go_on(limited: TestClient) -> None:
    left = []
    for _ in range(5):
        answer = limited.get("/v1/me")
        assert answer.headers["RateLimit-Policy"] == '"default";q=5;w=60, "project";q=7;w=60'
        name, remaining, resets = answer.headers["RateLimit"].split(",")[0].split(";")
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
    assert policies == '"default";q=5;w=60, "project";q=7;w=60'


def test_posts_of_all_keys_of_a_project_are_counted_together(
    limited: TestClient, team: Team, other_team: Team
) -> None:
    def post(headers: dict[str, str]) -> Any:
        return limited.post("/v1/jobs", json=document(), headers={**new_key(), **headers})

    answers = [post(spare_key(team)) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[-1].json()["policy"] == "project-create"
    assert '"project-create";q=3;w=60' in answers[0].headers["RateLimit-Policy"]
    assert post(other_team.headers).status_code == 202


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
    names = (
        "requests",
        "creates",
        "project",
        "project_creates",
        "logins",
        "logins_email",
        "logins_address",
        "failures",
    )
    off = {f"rate_limit_{name}": "0" for name in names}
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


def spare_key(team: Team) -> dict[str, str]:
    with db.transaction() as session:
        _, text = api_keys.create(session, project_id=team.project_id, name="spare")
    return {"Authorization": f"Bearer {text}"}


def test_more_keys_are_not_more_requests_of_the_project(
    limited: TestClient, team: Team, other_team: Team
) -> None:
    answers = [limited.get("/v1/me", headers=spare_key(team)) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 7 + [429]
    assert answers[-1].json()["policy"] == "project"
    assert limited.get("/v1/me", headers=other_team.headers).status_code == 200


@pytest.mark.parametrize("blank", [" ", "\t", "\u2003"])
def test_white_space_and_case_make_no_other_email(limited: TestClient, blank: str) -> None:
    emails = (
        "ada@example.com",
        f"{blank}ada@example.com",
        f"ADA@example.com{blank}",
        "Ada@Example.com",
    )
    answers = [
        limited.post("/v1/sessions", json={"email": email, "password": "not this one"})
        for email in emails
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert answers[-1].json()["policy"] == "login"


def test_an_address_is_counted_before_the_body_is_read(limited: TestClient) -> None:
    for path, body in (
        ("sessions", b"{"),
        ("invitations/accept", b"{"),
        ("sessions", b'{"email": 1}'),
    ):
        for _ in range(2):
            answer = limited.post(
                f"/v1/{path}", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code in {400, 422}
    answer = limited.post("/v1/sessions", content=b"x" * 100_000)
    assert (answer.status_code, answer.json()["policy"]) == (429, "login-address")


def attempt(limited: TestClient, address: str) -> Any:
    """The answer to somebody at this address who tries a password."""
    limited._transport.client = (address, 1)  # type: ignore[attr-defined]
    body = {"email": "ada@example.com", "password": "not this one"}
    return limited.post("/v1/sessions", json=body)


def test_nobody_locks_somebody_out_from_afar(limited: TestClient) -> None:
    far = [attempt(limited, "192.0.2.2").status_code for _ in range(4)]
    assert far == [401, 401, 401, 429]
    assert attempt(limited, "192.0.2.1").status_code == 401
    answers = [attempt(limited, f"192.0.2.{last}") for last in range(3, 8)]
    assert [answer.status_code for answer in answers] == [401] * 4 + [429]
    assert answers[-1].json()["policy"] == "login-email"


def test_a_network_of_ipv6_is_one_address(limited: TestClient) -> None:
    answers = [attempt(limited, f"2001:db8::{last}") for last in range(1, 5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert attempt(limited, "2001:db8:0:1::1").status_code == 401


def test_who_fails_too_often_is_refused_without_a_look(
    limited: TestClient, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = spare_key(team)
    assert limited.get("/v1/me", headers=known).status_code == 200
    with db.transaction() as session:
        past = db.utc_now() - timedelta(seconds=1)
        own = {"project_id": team.project_id, "name": "old", "expires_at": past}
        _, expired = api_keys.create(session, **own)  # type: ignore[arg-type]
    wrong = {"Authorization": f"Bearer {expired}"}
    answers = [limited.get("/v1/me", headers=wrong) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert answers[-1].json()["policy"] == "failures"
    assert limited.get("/v1/me", headers=spare_key(team)).status_code == 429
    later = time.monotonic() + remembered.KEPT_S
    monkeypatch.setattr(remembered.remembered, "_clock", lambda: later)
    assert limited.get("/v1/me", headers=known).status_code == 200
    limited._transport.client = ("192.0.2.9", 1)  # type: ignore[attr-defined]
    assert limited.get("/v1/me", headers=wrong).status_code == 401
