"""POST, GET and cancel of jobs, and their list."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from sqlalchemy import func, select

from domain import db
from domain.ids import from_public, to_public
from domain.service_tables import IdempotencyKey
from domain.store import ObjectStore
from domain.tables import Event, Job
from tests import lives
from tests.api import outputs
from tests.api.teams import Team, make_team, new_key, post_job
from tests.factories import document
from tests.past_runs import alive
from vader_core.method_spec import SETTINGS


def rows_stored() -> int:
    with db.read() as session:
        return sum(
            session.scalars(select(func.count()).select_from(table)).one()
            for table in (Job, Event, IdempotencyKey)
        )


def test_a_job_is_accepted_with_every_default_shown(client: TestClient) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = client.post(
        "/v1/jobs",
        json=document(labels={"team": "ads"}),
        headers={**new_key(), "traceparent": trace},
    )
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == body["links"]["self"] == f"/v1/jobs/{body['id']}"
    assert body["status"] == "queued"
    assert body["queue"] == {
        "position": 1,
        "reason": "no_free_gpu",
        "eta_at": None,
        "expires_at": None,
    }
    assert body["terminal"] is False
    assert body["allowed_actions"] == ["cancel", "pause", "patch"]
    assert body["spec"] == document(labels={"team": "ads"})
    assert body["resolved_spec"]["base_model"] == "tiny-unet@1"
    assert body["resolved_spec"]["video"]["num_frames"] == 8
    assert body["labels"] == {"team": "ads"}
    assert body["created_by"]["name"] == "ads-ci"
    assert body["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert body["budget"]["steps"] == {"limit": 20, "used": 0, "fraction": 0.0}
    again = client.get(answer.headers["Location"]).json()
    for shown in (again, body):
        # How long it has waited, and how old it is, by the clock.
        del shown["budget"]["queue_s"], shown["budget"]["deadline_s"]
    assert again == body


def test_all_faults_come_at_once_and_nothing_is_stored(client: TestClient) -> None:
    wrong = document(
        webhookUrl="https://example.org",
        base_model="tiny-wna",
        rewards=[{"reward": "beauty"}, {"reward": "diversity"}],
        prompts={"prompt_set": "ps_00000000000000000000000000"},
        budget={"max_steps": 0, "deadline_at": "2020-01-01T00:00:00Z"},
        labels={"team": "a\u0000b"},
    )
    before = rows_stored()
    answer = client.post("/v1/jobs", json=wrong, headers=new_key())
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    found = {fault["pointer"]: fault for fault in problem["errors"]}
    assert found["/webhookUrl"]["code"] == "unknown_field"
    assert found["/base_model"]["nearest"][0] == "tiny-wan@1"
    assert "tiny-unet@1" in found["/base_model"]["detail"]
    assert found["/rewards/0/reward"]["code"] == "unknown_reward"
    assert found["/rewards/1/reward"]["code"] == "guard_only"
    assert found["/prompts/prompt_set"]["code"] == "unknown_prompt_set"
    assert found["/budget/max_steps"]["code"] == "greater_than_equal"
    assert found["/labels/team"]["code"] == "illegal_character"
    assert problem["title"] == f"The job spec has {len(problem['errors'])} problems"
    assert rows_stored() == before


ILLEGAL: list[tuple[dict[str, object], str, list[object]]] = [
    ({"video": {"num_frames": 99}}, "/video/num_frames", [24, 23]),
    ({"video": {"width": 33}}, "/video/width", [32, 40]),
    ({"base_model": "tiny-wan", "video": {"num_frames": 8}}, "/video/num_frames", [7, 9]),
    ({"prompts": {"inline": []}}, "/prompts/inline", []),
    ({"prompts": {}}, "/prompts", []),
    ({"budget": {}}, "/budget/max_steps", []),
    ({"budget": {"max_steps": 0}}, "/budget/max_steps", []),
    ({"budget": {"max_steps": 2**70}}, "/budget/max_steps", []),
    ({"budget": {"max_steps": 5, "max_gpu_seconds": 0}}, "/budget/max_gpu_seconds", []),
    ({"budget": {"max_steps": 5, "max_queue_s": 1e300}}, "/budget/max_queue_s", []),
    ({"budget": {"max_steps": 5, "deadline_at": "2020-01-01T00:00Z"}}, "/budget/deadline_at", []),
    (
        {"budget": {"max_steps": 5, "deadline_at": "9999-12-31T23:59:59-14:00"}},
        "/budget/deadline_at",
        [],
    ),
    (
        {"budget": {"max_steps": 5, "max_cost": {"amount": "1", "currency": "EUR"}}},
        "/budget/max_cost/currency",
        ["USD"],
    ),
    (
        {"budget": {"max_steps": 1, "max_cost": {"amount": "1e-400"}}},
        "/budget/max_cost/amount",
        [],
    ),
    ({"budget": {"max_steps": 1, "max_gpu_seconds": 1e-320}}, "/budget/max_gpu_seconds", []),
    ({"budget": {"max_steps": True}}, "/budget/max_steps", []),
    ({"labels": {f"label-{number}": "x" for number in range(51)}}, "/labels", []),
    ({"labels": {"n" * 65: "x"}}, f"/labels/{'n' * 65}", []),
    ({"rewards": [{"reward": "tiny-action@7"}]}, "/rewards/0/reward", ["tiny-action@1"]),
    ({"rewards": []}, "/rewards", []),
    ({"status": "succeeded"}, "/status", []),
    ({"project_id": "prj_1"}, "/project_id", []),
]


def test_an_illegal_value_is_pointed_at_with_what_would_be_legal(client: TestClient) -> None:
    for changes, pointer, legal in ILLEGAL:
        answer = client.post("/v1/jobs", json=document(**changes), headers=new_key())
        assert answer.status_code == 422, changes
        faults = {fault["pointer"]: fault for fault in answer.json()["errors"]}
        assert faults[pointer]["detail"]
        assert faults[pointer].get("nearest", [])[: len(legal)] == legal
    assert rows_stored() == 0


def test_a_spec_that_is_no_object_is_refused_as_a_whole(client: TestClient) -> None:
    for body in ("[]", "3", '"job"', "null"):
        headers = {**new_key(), "Content-Type": "application/json"}
        answer = client.post("/v1/jobs", content=body, headers=headers)
        assert answer.status_code == 422, body
        assert answer.json()["errors"], body


def test_a_job_can_use_a_stored_prompt_set(client: TestClient) -> None:
    prompts = document()["prompts"]["inline"]
    made = client.post(
        "/v1/prompt-sets", json={"name": "ways", "prompts": prompts}, headers=new_key()
    ).json()
    body = post_job(client, prompts={"prompt_set": f"{made['id']}@v1"})
    assert body["resolved_spec"]["prompts"]["prompt_set"] == f"{made['id']}@v1"
    assert len(lives.claimed().spec.prompts.inline or []) == len(prompts)


def test_polling_costs_nothing_until_something_changes(client: TestClient) -> None:
    path = post_job(client)["links"]["self"]
    first = client.get(path)
    assert int(first.headers["Retry-After"]) == first.json()["poll_after_s"]
    same = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert same.status_code == 304
    assert same.headers["ETag"] == first.headers["ETag"]
    assert not same.content
    outputs.start()
    other = client.get(path, headers={"If-None-Match": f'"x", {first.headers["ETag"]}'})
    assert other.status_code == 200
    assert other.json()["status"] == "running"
    assert client.get(path, headers={"If-None-Match": "*"}).status_code == 304


def test_a_job_ahead_in_the_queue_that_leaves_changes_the_etag(client: TestClient) -> None:
    ahead, behind = post_job(client), post_job(client)
    tag = client.get(behind["links"]["self"]).headers["ETag"]
    client.post(ahead["links"]["cancel"], headers=new_key())
    after = client.get(behind["links"]["self"], headers={"If-None-Match": tag})
    assert after.json()["queue"]["position"] == 1


def test_a_poller_learns_that_no_worker_can_hold_the_job(client: TestClient) -> None:
    alive("1 x NVIDIA L4 (24 GiB)")
    job = post_job(client)
    path = job["links"]["self"]
    tag = client.get(path).headers["ETag"]
    assert tag.startswith('W/"')
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    with db.transaction() as session:
        session.get_one(Job, from_public("job", job["id"])).least_gib = 80.0
    after = client.get(path, headers={"If-None-Match": tag})
    assert after.json()["queue"]["reason"] == "no_fitting_gpu"
    assert client.get(path, headers={"If-None-Match": after.headers["ETag"]}).status_code == 304
    # It does not make stale what was read for a change.
    changed = client.patch(path, json={"name": "other"}, headers={"If-Match": tag})
    assert changed.status_code == 200


def test_prefer_wait_answers_when_the_job_changes(client: TestClient) -> None:
    path = post_job(client)["links"]["self"]
    tag = client.get(path).headers["ETag"]
    threading.Timer(0.3, lives.claimed).start()
    began = time.monotonic()
    answer = client.get(path, headers={"If-None-Match": tag, "Prefer": "wait=20"})
    assert answer.json()["status"] == "starting"
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert 0.2 < time.monotonic() - began < 5


def test_prefer_wait_gives_up_after_its_seconds_and_returns_at_once_when_over(
    client: TestClient,
) -> None:
    job = post_job(client)
    began = time.monotonic()
    waited = client.get(job["links"]["self"], headers={"Prefer": "respond-async, wait=1"})
    assert waited.json()["status"] == "queued"
    assert time.monotonic() - began >= 1
    client.post(job["links"]["cancel"], headers=new_key())
    began = time.monotonic()
    over = client.get(job["links"]["self"], headers={"Prefer": "wait=600"})
    assert over.json()["terminal"] is True
    assert over.headers["Preference-Applied"] == "wait=60"
    assert "Retry-After" not in over.headers
    assert time.monotonic() - began < 5


def test_a_queued_job_is_cancelled_at_once_and_again_without_harm(client: TestClient) -> None:
    job = post_job(client)
    answer = client.post(job["links"]["cancel"], json={"keep_adapter": False}, headers=new_key())
    assert answer.status_code == 202
    assert answer.json()["status"] == "cancelled"
    assert answer.json()["stop_reason"] == "cancelled"
    assert answer.json()["poll_after_s"] is None
    again = client.post(job["links"]["cancel"], headers=new_key())
    assert (again.status_code, again.json()["status"]) == (202, "cancelled")


def test_a_running_job_is_asked_to_stop(client: TestClient) -> None:
    job = post_job(client)
    outputs.start()
    answer = client.post(job["links"]["cancel"], headers=new_key())
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")


def test_a_finished_job_cannot_be_cancelled(client: TestClient, store: ObjectStore) -> None:
    job = post_job(client)
    outputs.succeed(store)
    answer = client.post(job["links"]["cancel"], headers=new_key())
    problem = answer.json()
    assert answer.status_code == 409
    assert problem["code"] == "invalid_transition"
    assert problem["current_status"] == "succeeded"
    assert problem["allowed_actions"] == ["extend", "delete"]


def test_a_cancel_with_an_unknown_field_is_refused(client: TestClient) -> None:
    job = post_job(client)
    answer = client.post(job["links"]["cancel"], json={"keepAdapter": True}, headers=new_key())
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/keepAdapter"
    assert client.get(job["links"]["self"]).json()["status"] == "queued"


def test_paging_shows_every_job_once_while_others_are_made(client: TestClient) -> None:
    first = [post_job(client, name=f"old {i}")["id"] for i in range(5)]
    page = client.get("/v1/jobs", params={"limit": 2})
    seen = [job["id"] for job in page.json()["data"]]
    while page.json()["has_more"]:
        post_job(client, name="new")
        assert page.links["next"]["url"].startswith("/v1/jobs?")
        page = client.get(page.links["next"]["url"])
        seen += [job["id"] for job in page.json()["data"]]
    assert seen == first[::-1]
    assert page.json()["next_cursor"] is None
    assert "Link" not in page.headers
    assert "spec" not in page.json()["data"][0]


def test_a_filter_by_an_unknown_method_names_the_known_ones(client: TestClient) -> None:
    answer = client.get("/v1/jobs", params={"method": "gprpo"})
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["parameter"], fault["location"]) == ("method", "query")
    assert all(name in fault["detail"] for name in SETTINGS)


def test_the_list_is_narrowed_by_its_filters(client: TestClient, other_team: Team) -> None:
    ads = post_job(client, name="Ads one", labels={"team": "ads", "ticket": "7"})
    wan = post_job(client, name="Wan", base_model="tiny-wan", video={"num_frames": 9})
    text = post_job(client, rewards=[{"reward": "tiny-text-match"}], method={"type": "nft"})
    client.post(text["links"]["cancel"], headers=new_key())

    def found(**parameters: object) -> list[str]:
        answer = client.get("/v1/jobs", params=parameters)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["data"]]

    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert found(**{"label.team": "ads", "label.ticket": "7"}) == [ads["id"]]
    assert found(**{"label.team": "films"}) == []
    assert found(base_model="tiny-wan") == [wan["id"]]
    assert found(base_model="tiny-wan@2") == []
    assert found(reward="tiny-text-match@1") == [text["id"]]
    assert found(method="nft") == [text["id"]]
    assert found(method="reward_gradient") == [wan["id"], ads["id"]]
    assert (text["method"], ads["method"]) == ("nft", "reward_gradient")
    assert found(status=["cancelled", "failed"]) == [text["id"]]
    assert found(q="ADS") == [ads["id"]]
    assert len(found(created_by=ads["created_by"]["id"], created_before=soon)) == 3
    assert found(created_after=soon) == []
    assert found(created_by=to_public("key", other_team.key_id)) == []


def test_a_cursor_is_good_for_its_own_filters_alone(client: TestClient) -> None:
    for _ in range(2):
        post_job(client)
    cursor = client.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]
    for parameters in (
        {"cursor": cursor, "status": "queued"},
        {"cursor": "nonsense"},
        {"cursor": "bm9uc2Vuc2U"},
    ):
        answer = client.get("/v1/jobs", params=parameters)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_a_misspelt_or_illegal_parameter_is_not_taken_for_none(client: TestClient) -> None:
    for parameters, name in (
        ({"stauts": "queued"}, "stauts"),
        ({"status": "sleeping"}, "status"),
        ({"created_by": "job_1"}, "created_by"),
        ({"limit": "0"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"created_after": "2026-01-01T00:00:00"}, "created_after"),
        ({"q": "a\0b"}, "q"),
        ({"label.a\0b": "x"}, "label.a\0b"),
    ):
        answer = client.get("/v1/jobs", params=parameters)
        [fault] = answer.json()["errors"]
        assert answer.status_code == 422
        assert (fault["location"], fault["parameter"]) == ("query", name)


def test_jobs_of_a_project_are_not_in_another_ones_list(client: TestClient) -> None:
    post_job(client)
    rival = make_team("rivals")
    assert client.get("/v1/jobs", headers=rival.headers).json()["data"] == []
