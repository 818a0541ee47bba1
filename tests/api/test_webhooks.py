"""Webhook endpoints and deliveries by the API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from api.app import create_app
from domain import db, webhook_deliveries
from domain.db import utc_now
from domain.service_tables import IdempotencyKey
from domain.settings import Settings, get_settings
from domain.webhook_deliveries import Outcome
from domain.webhook_tables import WebhookEndpoint
from domain.webhooks import MAX_ENDPOINTS
from tests import generation_lives
from tests.api.teams import Team, make_team, new_key, post_job
from tests.factories import document

ENDPOINTS = "/v1/webhook-endpoints"
URL = "https://example.com/hooks/vader"


def make(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(ENDPOINTS, json={"url": URL, **fields}, headers=new_key())
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def path(endpoint: dict[str, Any]) -> str:
    return f"{ENDPOINTS}/{endpoint['id']}"


def change(client: TestClient, endpoint: dict[str, Any], **fields: Any) -> Any:
    """The answer to a change of the endpoint, whatever its state is."""
    return client.patch(path(endpoint), json=fields, headers={"If-Match": "*"})


def attempt(status_code: int | None, error: str | None) -> None:
    """As a sender would: the first due delivery is tried."""
    with db.transaction() as session:
        [claimed] = webhook_deliveries.claim(session, room=1)
    with db.transaction() as session:
        outcome = Outcome(utc_now(), 0.25, status_code, error)
        webhook_deliveries.record(session, claimed, outcome)


def test_an_endpoint_shows_its_secret_once_and_stores_it_sealed(client: TestClient) -> None:
    key = new_key()
    first = client.post(ENDPOINTS, json={"url": URL, "description": "ads"}, headers=key)
    made = first.json()
    assert made["secret"].startswith("whsec_")
    assert first.headers["Location"] == path(made)
    again = client.post(ENDPOINTS, json={"url": URL, "description": "ads"}, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == {**made, "secret": None}
    shown = client.get(path(made))
    assert shown.headers["ETag"] == '"1"'
    assert shown.json() == {name: made[name] for name in made if name != "secret"}
    assert client.get(ENDPOINTS).json()["data"] == [shown.json()]
    with db.read() as session:
        row = session.scalars(select(WebhookEndpoint)).one()
        kept = session.scalars(select(IdempotencyKey)).one()
    assert made["secret"].removeprefix("whsec_").encode() not in row.secret
    assert "whsec_" not in str(kept.body)


def test_all_faults_of_an_endpoint_are_told_at_once(client: TestClient) -> None:
    body = {
        "url": "http://10.0.0.1/hook",
        "event_types": ["job.succeeded", "job.suceeded", 3],
        "enabeld": True,
    }
    answer = client.post(ENDPOINTS, json=body, headers=new_key())
    assert answer.status_code == 422
    faults = {fault["pointer"]: fault for fault in answer.json()["errors"]}
    assert set(faults) == {"/url", "/event_types/1", "/event_types/2", "/enabeld"}
    assert faults["/event_types/1"]["nearest"][0] == "job.succeeded"
    assert client.get(ENDPOINTS).json()["data"] == []
    for nothing in ({}, {"url": URL, "event_types": []}, {"url": ""}):
        assert client.post(ENDPOINTS, json=nothing, headers=new_key()).status_code == 422


def test_a_change_names_the_state_that_it_is_of(client: TestClient) -> None:
    made = make(client)
    changed = client.patch(
        path(made), json={"event_types": ["job.failed"]}, headers={"If-Match": '"1"'}
    )
    assert changed.status_code == 200
    assert changed.json()["event_types"] == ["job.failed"]
    assert (changed.json()["url"], changed.headers["ETag"]) == (URL, '"2"')
    stale = client.patch(path(made), json={"enabled": False}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "etag_mismatch")
    blind = client.patch(path(made), json={"enabled": False})
    assert (blind.status_code, blind.json()["code"]) == (428, "precondition_required")
    off = change(client, made, enabled=False, event_types=None)
    assert (off.json()["enabled"], off.json()["disabled_reason"]) == (False, "requested")
    assert off.json()["event_types"] is None
    wrong = change(client, made, url="https://127.0.0.1/", event_types=["x"])
    assert [fault["pointer"] for fault in wrong.json()["errors"]] == ["/url", "/event_types/0"]
    for nothing in ({"url": ""}, {"enabled": None}, {"description": None}):
        assert change(client, made, **nothing).status_code == 422
    assert client.patch(path(made), json={"enabled": True}).status_code == 428


def test_a_deleted_endpoint_is_gone_with_its_deliveries(client: TestClient) -> None:
    made = make(client)
    delivery = client.post(f"{path(made)}/test", headers=new_key()).json()
    assert client.delete(path(made)).status_code == 204
    assert client.get(path(made)).status_code == 404
    assert client.delete(path(made)).status_code == 404
    assert client.get(f"/v1/deliveries/{delivery['id']}").status_code == 404


def test_a_rotated_secret_overlaps_for_a_while(client: TestClient) -> None:
    made = make(client)
    rotate = f"{path(made)}/rotate-secret"
    rotated = client.post(rotate, json={"overlap_s": 3600}, headers=new_key()).json()
    assert rotated["secret"] not in {None, made["secret"]}
    assert rotated["previous_secret_expires_at"] is not None
    at_once = client.post(rotate, json={"overlap_s": 0}, headers=new_key()).json()
    assert at_once["previous_secret_expires_at"] is None
    assert client.post(rotate, headers=new_key()).status_code == 200
    for overlap_s in (-1, 8 * 24 * 3600, "1 h"):
        answer = client.post(rotate, json={"overlap_s": overlap_s}, headers=new_key())
        assert answer.status_code == 422


def test_a_test_message_is_queued_and_its_tries_are_shown(client: TestClient) -> None:
    made = make(client, event_types=["job.failed"])
    queued = client.post(f"{path(made)}/test", headers=new_key())
    assert queued.status_code == 202
    delivery = queued.json()
    assert (delivery["event_type"], delivery["status"]) == ("webhook.test", "pending")
    assert delivery["attempts"] == []
    attempt(500, "answered 500")
    [listed] = client.get(f"{path(made)}/deliveries").json()["data"]
    assert listed == client.get(queued.headers["Location"]).json()
    [tried] = listed["attempts"]
    assert (tried["number"], tried["status_code"], tried["error"]) == (1, 500, "answered 500")
    assert tried["duration_s"] == 0.25
    assert listed["next_attempt_at"] > tried["at"]
    assert client.get(path(made)).json()["failing_since"] is not None


def test_an_endpoint_may_hear_of_generations_alone(client: TestClient) -> None:
    made = make(client, event_types=["generation.succeeded"])
    post_job(client)
    body = {"base_model": "tiny-unet", "prompt": generation_lives.PROMPT}
    asked = client.post("/v1/generations", json=body, headers=new_key()).json()
    generation_lives.succeeded(generation_lives.claimed())
    [delivery] = client.get(f"{path(made)}/deliveries").json()["data"]
    assert delivery["event_type"] == "generation.succeeded"
    assert (delivery["generation_id"], delivery["job_id"]) == (asked["id"], None)


def test_a_jobs_own_list_of_events_has_no_room_for_generations(client: TestClient) -> None:
    body = document(notify={"events": ["generation.failed"]})
    answer = client.post("/v1/jobs", json=body, headers=new_key())
    [fault] = answer.json()["errors"]
    assert (answer.status_code, fault["pointer"]) == (422, "/notify/events/0")


def test_deliveries_are_paged_and_narrowed_by_status(client: TestClient) -> None:
    made = make(client)
    post_job(client)
    attempt(204, None)
    both = client.get(f"{path(made)}/deliveries").json()["data"]
    assert [delivery["event_type"] for delivery in both] == ["job.queued", "job.created"]
    first = client.get(f"{path(made)}/deliveries", params={"limit": 1})
    second = client.get(first.links["next"]["url"]).json()
    assert first.json()["data"] + second["data"] == both
    [pending] = client.get(f"{path(made)}/deliveries", params={"status": "pending"}).json()["data"]
    [done] = client.get(f"{path(made)}/deliveries", params={"status": "delivered"}).json()["data"]
    assert {pending["id"], done["id"]} == {delivery["id"] for delivery in both}
    cursor = first.json()["next_cursor"]
    wrong = client.get(f"{path(made)}/deliveries", params={"status": "failed", "cursor": cursor})
    assert wrong.json()["code"] == "invalid_cursor"


def test_a_delivery_is_sent_once_more(client: TestClient) -> None:
    made = make(client)
    delivery = client.post(f"{path(made)}/test", headers=new_key()).json()
    attempt(204, None)
    again = client.post(f"/v1/deliveries/{delivery['id']}/redeliver", headers=new_key())
    assert again.status_code == 202
    assert (again.json()["status"], again.json()["event_id"]) == ("pending", delivery["event_id"])
    attempt(204, None)
    shown = client.get(f"/v1/deliveries/{delivery['id']}").json()
    assert [tried["number"] for tried in shown["attempts"]] == [1, 2]


def test_a_disabled_endpoint_is_sent_nothing(client: TestClient) -> None:
    made = make(client)
    delivery = client.post(f"{path(made)}/test", headers=new_key()).json()
    change(client, made, enabled=False)
    for asked in (f"{path(made)}/test", f"/v1/deliveries/{delivery['id']}/redeliver"):
        answer = client.post(asked, headers=new_key())
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_project_has_a_limited_number(client: TestClient) -> None:
    for number in range(MAX_ENDPOINTS):
        make(client, url=f"{URL}/{number}")
    answer = client.post(ENDPOINTS, json={"url": URL}, headers=new_key())
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_what_is_another_projects_does_not_exist(client: TestClient, other_team: Team) -> None:
    made = make(client)
    delivery = client.post(f"{path(made)}/test", headers=new_key()).json()
    client.headers.update(other_team.headers)
    assert client.get(ENDPOINTS).json()["data"] == []
    asked = [
        client.get(path(made)),
        change(client, made, enabled=False),
        client.delete(path(made)),
        client.post(f"{path(made)}/test", headers=new_key()),
        client.post(f"{path(made)}/rotate-secret", headers=new_key()),
        client.get(f"{path(made)}/deliveries"),
        client.get(f"/v1/deliveries/{delivery['id']}"),
        client.post(f"/v1/deliveries/{delivery['id']}/redeliver", headers=new_key()),
    ]
    assert [answer.status_code for answer in asked] == [404] * len(asked)


def test_every_change_is_in_the_audit_log(client: TestClient) -> None:
    made = make(client, url=f"{URL}?token=receivers-secret")
    change(client, made, description="new")
    client.post(f"{path(made)}/rotate-secret", headers=new_key())
    client.delete(path(made))
    entries = client.get("/v1/audit-log", params={"target": made["id"]}).json()["data"]
    assert [entry["action"].partition(".")[2] for entry in entries] == [
        *("delete", "rotate_secret", "change", "create"),
    ]
    assert "receivers-secret" not in str(entries)


def test_it_takes_its_own_scope(anonymous: TestClient) -> None:
    reader = make_team("readers", scopes=["jobs:read"])
    answer = anonymous.get(ENDPOINTS, headers=reader.headers)
    assert (answer.status_code, answer.json()["scope"]) == (403, "webhooks:write")


@pytest.fixture
def lenient(
    settings: Settings, team: Team, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A service for development, which lets webhooks go anywhere."""
    monkeypatch.setenv("VADER_WEBHOOK_ALLOW_PRIVATE", "true")
    get_settings.cache_clear()
    with TestClient(create_app(get_settings())) as client:
        client.headers.update(team.headers)
        yield client


def test_development_may_send_to_the_same_machine(lenient: TestClient) -> None:
    assert make(lenient, url="http://127.0.0.1:9000/hook")["url"] == "http://127.0.0.1:9000/hook"
