"""The matrix of authorisation: every route times every credential that must not open it.

The routes come from the app. A new one without a row in `tests.api.permissions` fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from api.app import create_app
from domain import api_keys, db, members, passwords, sessions
from domain.access_tables import MemberSession
from domain.ids import to_public
from domain.members import SCOPES
from domain.store import open_store
from tests.api import outputs
from tests.api.files import upload
from tests.api.permissions import ANYBODY, OF_EVERYBODY, ROWS, as_declared
from tests.api.teams import Team, make_team, new_key, post_job
from tests.conftest import fresh_database, service
from tests.factories import document

PASSWORD = "a long and private phrase"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class World:
    """A service with two projects. `ids` are of what the first one owns, by their names in paths."""

    client: TestClient
    team: Team
    rivals: Team
    bad_keys: dict[str, tuple[str, str]]
    """What an Authorization header holds that opens nothing, and the code of the refusal."""
    cookies: dict[str, str]
    """The cookie of a member, by role."""
    ids: dict[str, str] = field(default_factory=dict)

    def ask(self, name: str, headers: dict[str, str]) -> Any:
        """The answer of the route with that row, with its own body and these headers."""
        method, path = name.split(" ")
        row = ROWS[name]
        content = row.body if isinstance(row.body, bytes) else None
        return self.client.request(
            method,
            _filled(path, self.ids),
            params={key: _filled(value, self.ids) for key, value in row.query.items()},
            json=None if content is not None else _filled(row.body, self.ids),
            content=content,
            headers={**new_key(), **row.headers, **headers},
        )

    def narrow(self, scope: str) -> dict[str, str]:
        """The headers of a key that may do everything but `scope`."""
        others = [other for other in api_keys.ALL_SCOPES if other != scope]
        return _headers_of(self.team, scopes=others)


def _filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], value)
    if isinstance(value, dict):
        return {key: _filled(member, ids) for key, member in value.items()}
    return [_filled(member, ids) for member in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def world(
    postgres_url: str, redis_server_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(passwords, "_hasher", cheap)
        settings = stack.enter_context(
            service(
                stack.enter_context(fresh_database(postgres_url)),
                redis_server_url,
                tmp_path_factory.mktemp("service"),
                monkeypatch,
                rate_limit_requests="0",
                rate_limit_creates="0",
                rate_limit_project="0",
                rate_limit_project_creates="0",
                rate_limit_failures="0",
                rate_limit_logins_address="0",
            )
        )
        client = TestClient(create_app(settings), follow_redirects=False)
        team, rivals = make_team("ads"), make_team("rivals")
        made = World(
            client=stack.enter_context(client),
            team=team,
            rivals=rivals,
            bad_keys=_bad_keys(team),
            cookies={role: _cookie(team, role) for role in SCOPES},
        )
        made.ids = {**_work_of(client, team), **_access_of(client, team)}
        yield made


def _bad_keys(team: Team) -> dict[str, tuple[str, str]]:
    changed = team.token[:-1] + ("0" if team.token[-1] != "0" else "1")
    with db.transaction() as session:
        own = {"project_id": team.project_id, "name": "old"}
        past = db.utc_now() - timedelta(seconds=1)
        _, expired = api_keys.create(session, **own, expires_at=past)  # type: ignore[arg-type]
        key, revoked = api_keys.create(session, **own)  # type: ignore[arg-type]
        session.flush()
        api_keys.revoke(session, project_id=team.project_id, key_id=key.id)
    return {
        "none": ("", "invalid_api_key"),
        "malformed": ("Bearer nonsense", "invalid_api_key"),
        "changed": (f"Bearer {changed}", "invalid_api_key"),
        "expired": (f"Bearer {expired}", "expired_api_key"),
        "revoked": (f"Bearer {revoked}", "invalid_api_key"),
        "a session as a key": (f"Bearer {_cookie(team, 'admin', 'spare')}", "invalid_api_key"),
    }


def _cookie(team: Team, role: str, name: str = "") -> str:
    email = f"{name or role}@example.com"
    with db.transaction() as session:
        _, token = members.invite(
            session,
            project_id=team.project_id,
            email=email,
            name=role,
            role=role,  # type: ignore[arg-type]
        )
        members.accept(session, token=token, password=PASSWORD)
    return _signed_in(email)[1]


def _signed_in(email: str) -> tuple[MemberSession, str]:
    with db.transaction() as session:
        row, _, token = sessions.sign_in(
            session, email=email, password=PASSWORD, project=None, address=None, user_agent=None
        )
    return row, token


def _headers_of(team: Team, **options: Any) -> dict[str, str]:
    with db.transaction() as session:
        _, token = api_keys.create(session, project_id=team.project_id, name="some", **options)
    return {"Authorization": f"Bearer {token}"}


def _work_of(client: TestClient, team: Team) -> dict[str, str]:
    """A finished job with all it yields, and what stands beside it; made as `team` would make it."""
    client.headers.update(team.headers)

    def post(path: str, body: Any) -> str:
        answer = client.post(f"/v1/{path}", json=body, headers=new_key())
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    job = post_job(client)
    outputs.succeed(open_store(client.app.state.settings))  # type: ignore[attr-defined]
    job = client.get(job["links"]["self"]).json()
    sample = client.get(job["links"]["samples"]).json()["data"][0]
    video = {"sample": sample["id"], "prompt": sample["prompt"]}
    checkpoints = client.get(f"{job['links']['self']}/checkpoints").json()["data"]
    adapter_id = job["adapter"]["id"]
    aliased = client.put(f"/v1/adapters/{adapter_id}/aliases/production", headers=new_key())
    assert aliased.is_success, aliased.text
    endpoint = post("webhook-endpoints", {"url": "https://example.com/hook"})
    ids = {
        "job_id": job["id"],
        "waiting_job_id": post_job(client)["id"],
        "checkpoint_id": checkpoints[0]["id"],
        "adapter_id": adapter_id,
        "name": "production",
        "path": "adapter_config.json",
        "sample_id": sample["id"],
        "prompt_set_id": post(
            "prompt-sets", {"name": "ways", "prompts": document()["prompts"]["inline"]}
        ),
        "template_id": post("job-templates", {"name": "t", "spec": document()}),
        "upload_id": upload(client),
        "scoring_id": post("rewards/motion/score", {"videos": [video]}),
        "generation_id": post("generations", {"base_model": "tiny-unet", "prompt": "a circle"}),
        "endpoint_id": endpoint,
        "delivery_id": post(f"webhook-endpoints/{endpoint}/test", None),
    }
    del client.headers["Authorization"]
    return ids


def _access_of(client: TestClient, team: Team) -> dict[str, str]:
    """A key, a member and a session that nobody uses, and ids of the catalogue."""
    with db.transaction() as session:
        key, _ = api_keys.create(session, project_id=team.project_id, name="unused")
        key_id = to_public("key", key.id)
    row, _ = _signed_in("spare@example.com")
    catalogue = {
        f"{name}_id": client.get(f"/v1/{name.replace('_', '-')}s", headers=team.headers).json()
        for name in ("base_model", "reward", "method")
    }
    return {
        "api_key_id": key_id,
        "member_id": to_public("mem", row.member_id),
        "session_id": to_public("ses", row.id),
        **{name: answer["data"][0]["id"] for name, answer in catalogue.items()},
    }


def _routes(client: TestClient) -> set[str]:
    """Every route of the app as `METHOD path`."""
    found = iter_route_contexts(client.app.routes)  # type: ignore[attr-defined]
    return {
        f"{method} {context.path}".replace(":path}", "}")
        for context in found
        for method in context.methods or ()
        if method != "HEAD"
    }


def is_owned(name: str) -> bool:
    """Whether the path, or the query, names something that a project owns."""
    asked = name + "".join(ROWS[name].query.values())
    return bool(set(re.findall(r"\{(\w+)\}", asked)) - OF_EVERYBODY)


def test_every_route_has_a_row(world: World) -> None:
    assert {as_declared(name) for name in ROWS} | ANYBODY == _routes(world.client)
    assert not {as_declared(name) for name in ROWS} & ANYBODY


def test_every_scope_opens_something() -> None:
    assert {row.scope for row in ROWS.values()} - {None} == set(api_keys.ALL_SCOPES)


@pytest.mark.parametrize("name", ROWS)
def test_a_credential_that_does_not_hold_opens_nothing(world: World, name: str) -> None:
    for kind, (authorization, code) in world.bad_keys.items():
        answer = world.ask(name, {"Authorization": authorization} if authorization else {})
        assert (answer.status_code, answer.json()["code"]) == (401, code), kind
    answer = world.ask(name, {"Cookie": "vader_session=vdr_session_nonsense", **OWN_PAGE})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.scope])
def test_a_key_without_the_scope_is_told_which_it_lacks(world: World, name: str) -> None:
    scope = ROWS[name].scope
    assert scope is not None
    answer = world.ask(name, world.narrow(scope))
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert answer.json()["scope"] == scope


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_a_members_role_says_what_the_session_may_do(world: World, role: str) -> None:
    for name, row in ROWS.items():
        if row.scope is not None and row.scope not in SCOPES[role]:
            cookie = {"Cookie": f"vader_session={world.cookies[role]}", **OWN_PAGE}
            answer = world.ask(name, cookie)
            assert (answer.status_code, answer.json()["scope"]) == (403, row.scope), name


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith(UNSAFE)])
def test_a_cookie_counts_on_our_own_pages_alone(world: World, name: str) -> None:
    cookie = {"Cookie": f"vader_session={world.cookies['admin']}"}
    for proof in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        answer = world.ask(name, {**cookie, **proof})
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request"), proof


@pytest.mark.parametrize("name", [name for name in ROWS if is_owned(name)])
def test_what_another_project_owns_does_not_exist(world: World, name: str) -> None:
    answer = world.ask(name, world.rivals.headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ROWS)
def test_whoever_may_is_let_through(world: World, name: str) -> None:
    """Without this, the refusals above could come from routes that refuse everybody."""
    row = ROWS[name]
    asked = world.team.headers
    if row.as_member:
        asked = {"Cookie": f"vader_session={world.cookies['editor']}", **OWN_PAGE}
    answer = world.ask(name, asked)
    assert answer.status_code in {200, 201, 202, 204, 302, 409, 410, 412, 422}, answer.text


def test_a_session_may_be_ended_by_its_member_and_by_who_manages_keys(world: World) -> None:
    row, _ = _signed_in("viewer@example.com")
    path = f"/v1/sessions/{to_public('ses', row.id)}"
    by_editor = {"Cookie": f"vader_session={_signed_in('editor@example.com')[1]}", **OWN_PAGE}
    for headers, status in (
        (by_editor, 404),
        (world.narrow("keys:write"), 403),
        (world.rivals.headers, 404),
        ({"Cookie": f"vader_session={world.cookies['viewer']}", **OWN_PAGE}, 204),
    ):
        assert world.client.delete(path, headers=headers).status_code == status


def test_no_such_id_reads_like_another_projects_id(world: World) -> None:
    job_id = world.ids["waiting_job_id"]
    nobody = job_id[:-1] + ("0" if job_id[-1] != "0" else "1")
    theirs, missing = (
        world.client.get(f"/v1/jobs/{one}", headers=world.rivals.headers).json()["detail"]
        for one in (job_id, nobody)
    )
    assert theirs.replace(job_id, "X") == missing.replace(nobody, "X")


def test_ids_of_the_wrong_kind_or_form_are_not_found(world: World) -> None:
    job_id = world.ids["waiting_job_id"]
    for wrong in (job_id.replace("job_", "ad_"), job_id.upper(), "job_", "%00", "..", "x" * 2000):
        answer = world.client.get(f"/v1/jobs/{wrong}/attempts", headers=world.team.headers)
        assert answer.status_code == 404, wrong
