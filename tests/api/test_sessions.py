"""Members over REST: invited, signed in with a cookie, out again; what the cookie's flags are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import JsonValue

from api.app import create_app
from api.documents import checked
from api.routes import sessions
from domain.settings import Settings
from tests import lives
from tests.api.teams import Team, new_key
from tests.factories import document

pytestmark = pytest.mark.usefixtures("cheap_passwords")
PASSWORD = "a long and private phrase"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


def invite(client: TestClient, **fields: str) -> dict[str, Any]:
    body = {"email": "Ada@Example.com", "name": "Ada", "role": "editor", **fields}
    answer = client.post("/v1/members", json=body, headers=new_key())
    assert answer.status_code == 201, answer.text
    invited: dict[str, Any] = answer.json()
    return invited


def join(client: TestClient, **fields: str) -> str:
    """The id of a member who has chosen a password."""
    invited = invite(client, **fields)
    accepted = {"token": invited["invitation_token"], "password": PASSWORD}
    answer = client.post("/v1/invitations/accept", json=accepted)
    assert answer.status_code == 200, answer.text
    return str(invited["id"])


def sign_in(client: TestClient, email: str = "ada@example.com", **headers: str) -> Morsel[str]:
    """The cookie; the client does not keep it."""
    body = {"email": email, "password": PASSWORD}
    answer = client.post("/v1/sessions", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    client.cookies.clear()
    return SimpleCookie(answer.headers["Set-Cookie"])["vader_session"]


def test_a_member_signs_in_and_works_with_the_cookie(client: TestClient, team: Team) -> None:
    member_id = join(client)
    del client.headers["Authorization"]
    cookie = sign_in(client, **{"User-Agent": "a browser"})
    me = client.get("/v1/me", headers={"Cookie": f"vader_session={cookie.value}"}).json()
    assert (me["member"]["id"], me["api_key"]) == (member_id, None)
    assert me["scopes"] == me["member"]["scopes"]
    headers = {"Cookie": f"vader_session={cookie.value}", **OWN_PAGE}
    made = client.post("/v1/jobs", json=document(), headers={**new_key(), **headers})
    assert made.status_code == 202
    assert made.json()["created_by"] == {"type": "member", "id": member_id, "name": "Ada"}
    refused = client.get("/v1/api-keys", headers=headers)
    assert (refused.status_code, refused.json()["scope"]) == (403, "keys:write")


def test_the_cookie_is_for_the_browser_alone(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(client)
    cookie = sign_in(client)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert (int(cookie["max-age"]), cookie["secure"]) == (settings.session_days * 86400, "")
    production = {
        "environment": "production",
        "secret_key": settings.secret_key.get_secret_value(),
        "public_url": "https://vader.example",
        "redis_url": settings.redis_url.get_secret_value().replace("//", "//:unused@"),
    }
    with (
        lives.changed_settings(monkeypatch, **production),
        TestClient(create_app(), base_url="https://vader.example") as abroad,
    ):
        body = {"email": "ada@example.com", "password": PASSWORD}
        answer = abroad.post("/v1/sessions", json=body)
        secure = SimpleCookie(answer.headers["Set-Cookie"])["__Host-vader_session"]
        assert (secure["secure"], secure["path"], secure["domain"]) == (True, "/", "")
        abroad.cookies.clear()
        for name, status in (("vader_session", 401), ("__Host-vader_session", 200)):
            asked = {"Cookie": f"{name}={secure.value}", **OWN_PAGE}
            assert abroad.get("/v1/me", headers=asked).status_code == status
        gone = abroad.delete("/v1/sessions/current", headers=asked)
        ended = SimpleCookie(gone.headers["Set-Cookie"])["__Host-vader_session"]
        assert (ended["max-age"], ended["secure"]) == ("0", True)


def test_sign_in_tells_nobody_what_was_wrong(client: TestClient) -> None:
    join(client)
    bodies = [
        {"email": "ada@example.com", "password": "not the password"},
        {"email": "nobody@example.com", "password": PASSWORD},
        {"email": "ada@example.com", "password": PASSWORD, "project": "rivals"},
    ]
    problems = []
    for body in bodies:
        answer = client.post("/v1/sessions", json=body)
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers
        problems.append({**answer.json(), "request_id": "", "trace_id": ""})
    assert problems[0] == problems[1] == problems[2]
    assert problems[0]["code"] == "invalid_credentials"


def test_signing_out_ends_the_session_and_the_cookie(client: TestClient) -> None:
    join(client)
    cookie = sign_in(client)
    del client.headers["Authorization"]
    headers = {"Cookie": f"vader_session={cookie.value}", **OWN_PAGE}
    gone = client.delete("/v1/sessions/current", headers=headers)
    assert gone.status_code == 204
    assert SimpleCookie(gone.headers["Set-Cookie"])["vader_session"]["max-age"] == "0"
    refused = client.get("/v1/me", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")


def test_open_sessions_are_listed_with_the_present_one(client: TestClient) -> None:
    join(client)
    join(client, email="eve@example.com", role="admin")
    first, second = sign_in(client, **{"User-Agent": "phone"}), sign_in(client)
    eve = sign_in(client, "eve@example.com")
    del client.headers["Authorization"]

    def listed(cookie: Morsel[str], **query: str) -> list[dict[str, Any]]:
        headers = {"Cookie": f"vader_session={cookie.value}"}
        answer = client.get("/v1/sessions", params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    assert [row["current"] for row in listed(first)] == [False, True]
    assert [row["user_agent"] for row in listed(second)][1] == "phone"
    assert len(listed(eve)) == 1
    assert len(listed(eve, whose="all")) == 3
    headers = {"Cookie": f"vader_session={first.value}"}
    refused = client.get("/v1/sessions", params={"whose": "all"}, headers=headers)
    assert refused.json()["scope"] == "keys:write"
    ended = listed(second)[1]["id"]
    by_admin = {"Cookie": f"vader_session={eve.value}", **OWN_PAGE}
    assert client.delete(f"/v1/sessions/{ended}", headers=by_admin).status_code == 204
    assert client.get("/v1/me", headers=headers).status_code == 401


def test_members_are_changed_and_removed(client: TestClient) -> None:
    member_id = join(client, role="viewer")
    cookie = sign_in(client)
    path = f"/v1/members/{member_id}"
    changed = client.patch(path, json={"role": "admin"}).json()
    assert (changed["role"], changed["name"], changed["email"]) == (
        "admin",
        "Ada",
        "ada@example.com",
    )
    assert "keys:write" in changed["scopes"]
    headers = {"Cookie": f"vader_session={cookie.value}", "Authorization": "Basic nothing"}
    assert client.get("/v1/members", headers=headers).json()["data"][0]["id"] == member_id
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.get("/v1/me", headers=headers).status_code == 401


def test_an_invitation_is_shown_once_and_can_be_renewed(client: TestClient) -> None:
    key = new_key()
    body = {"email": "ada@example.com", "name": "Ada"}
    first = client.post("/v1/members", json=body, headers=key).json()
    again = client.post("/v1/members", json=body, headers=key).json()
    assert (first["role"], again["invitation_token"]) == ("viewer", None)
    taken = client.post("/v1/members", json=body, headers=new_key())
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    renewed = client.post(f"/v1/members/{first['id']}/invitation", headers=new_key()).json()
    for token, status in (
        (first["invitation_token"], 401),
        (renewed["invitation_token"], 200),
        (renewed["invitation_token"], 401),
    ):
        accepted = {"token": token, "password": PASSWORD}
        answer = client.post("/v1/invitations/accept", json=accepted)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("members", {"email": "nobody", "name": "N"}, "/email"),
        ("members", {"email": "a@example.com", "name": "N", "role": "owner"}, "/role"),
        ("invitations/accept", {"token": "t", "password": "short"}, "/password"),
        ("invitations/accept", {"token": "t", "password": "x" * 257}, "/password"),
        ("sessions", {"email": "a@example.com"}, "/password"),
        ("sessions", {"email": [0, 0], "password": "p"}, "/email"),
    ],
)
def test_faulty_wishes_are_told_so(
    client: TestClient, path: str, body: dict[str, Any], pointer: str
) -> None:
    answer = client.post(f"/v1/{path}", json=body, headers=new_key())
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("path", ["sessions", "invitations/accept"])
def test_who_has_no_credential_sends_little(client: TestClient, path: str) -> None:
    body = {"email": [0] * 8192, "password": "p", "token": "t"}
    answer = client.post(f"/v1/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("path", ["sessions", "invitations/accept"])
def test_no_body_is_checked_on_the_event_loop(
    client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def noted(document: JsonValue, model: type[Any]) -> Any:
        threads.append(threading.current_thread().name)
        return checked(document, model)

    monkeypatch.setattr(sessions, "checked", noted)
    assert client.post(f"/v1/{path}", json={}).status_code == 422
    assert [name for name in threads if "worker" in name.lower()] == threads != []


def test_a_member_takes_along_the_keys_that_he_made(client: TestClient) -> None:
    member_id = join(client, role="admin")
    cookie = {"Cookie": f"vader_session={sign_in(client).value}", "Authorization": ""}
    body = {"name": "ci", "scopes": ["jobs:read"]}
    made = client.post(
        "/v1/api-keys", json=body, headers={**cookie, **OWN_PAGE, **new_key()}
    ).json()
    headers = {"Authorization": f"Bearer {made['api_key']}"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200
    assert client.delete(f"/v1/members/{member_id}").status_code == 204
    assert client.get("/v1/jobs", headers=headers).status_code == 401
    [entry] = client.get("/v1/audit-log", params={"action": "member.remove"}).json()["data"]
    assert entry["details"] == {"api_keys": [made["id"]]}


@pytest.mark.parametrize(("trusted", "address"), [("", "127.0.0.1"), ("127.0.0.0/8", "192.0.2.7")])
def test_the_address_is_what_a_trusted_proxy_says(
    serve: Callable[[], AbstractContextManager[str]],
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    trusted: str,
    address: str,
) -> None:
    join(client)
    body = {"email": "ada@example.com", "password": PASSWORD}
    with lives.changed_settings(monkeypatch, trusted_proxies=trusted), serve() as url:
        asked = httpx.post(
            f"{url}/v1/sessions", json=body, headers={"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}
        )
    assert asked.status_code == 201
    assert asked.json()["address"] == address
