"""PATCH and DELETE of jobs, and what is seen of a budget."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain.job_status import Status
from domain.store import ObjectStore
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.teams import Team, new_key, post_job


def patched(client: TestClient, job: dict[str, Any], tag: str, **change: Any) -> Any:
    return client.patch(job["links"]["self"], json=change, headers={"If-Match": tag})


def tag_of(client: TestClient, job: dict[str, Any]) -> str:
    return client.get(job["links"]["self"]).headers["ETag"]


def test_a_budget_is_raised_while_the_job_runs(client: TestClient) -> None:
    job = post_job(client, budget={"max_steps": 20, "max_gpu_seconds": 100})
    claim = lives.claimed()
    lives.told(claim, trainer_lines.started(), trainer_lines.step(1))
    tag = tag_of(client, job)
    # The trainer goes on between the look and the change.
    lives.told(claim, trainer_lines.step(2))
    answer = patched(client, job, tag, budget={"max_gpu_seconds": 400, "max_steps": 40})
    assert answer.status_code == 200
    body = answer.json()
    assert body["budget"]["gpu_seconds"] == {"limit": 400, "used": 4, "fraction": 0.01}
    assert body["progress"]["steps_total"] == 40
    assert body["resolved_spec"]["budget"]["max_steps"] == 20
    assert body["spec_hash"] == job["spec_hash"]
    assert answer.headers["ETag"] == tag_of(client, job) != tag
    changed = client.get(job["links"]["events"], params={"type": "job.budget_changed"}).json()
    assert [event["data"]["changes"] for event in changed["data"]] == [
        [
            {"ceiling": "max_steps", "from": 20, "to": 40},
            {"ceiling": "max_gpu_seconds", "from": 100, "to": 400},
        ]
    ]


def test_a_change_upon_an_old_look_is_refused(client: TestClient) -> None:
    job = post_job(client)
    tag = tag_of(client, job)
    assert patched(client, job, tag, name="mine").json()["name"] == "mine"
    answer = patched(client, job, tag, name="theirs")
    assert (answer.status_code, answer.json()["code"]) == (412, "etag_mismatch")
    assert client.get(job["links"]["self"]).json()["name"] == "mine"
    assert patched(client, job, f'"other", {tag_of(client, job)}', name="ours").status_code == 200
    assert patched(client, job, "*", name="anybody's").status_code == 200


@pytest.mark.parametrize("tag", ['"1"', "W/", 'W/"r1"', "r1-v1", ""])
def test_a_tag_that_is_not_of_this_job_matches_nothing(client: TestClient, tag: str) -> None:
    job = post_job(client)
    assert patched(client, job, tag, name="new").status_code == 412


def test_a_change_needs_if_match(client: TestClient) -> None:
    job = post_job(client)
    answer = client.patch(job["links"]["self"], json={"name": "new"})
    assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")
    assert client.get(job["links"]["self"]).json()["name"] == job["name"]


def test_the_audit_log_keeps_what_changed_and_not_what_was_sent(client: TestClient) -> None:
    job = post_job(client, labels={"team": "ads"})
    patched(client, job, "*", labels={"stage": "a long value"}, budget={"max_gpu_seconds": 9})
    patched(client, job, "*", labels={f"none-{number}": None for number in range(100)})
    params = {"action": "job.patch", "target": job["id"]}
    entries = client.get("/v1/audit-log", params=params).json()["data"]
    ceiling = {"ceiling": "max_gpu_seconds", "from": None, "to": 9}
    assert [entry["details"] for entry in entries] == [
        {"fields": [], "budget": []},
        {"fields": ["labels"], "budget": [ceiling]},
    ]


def test_a_job_carries_at_most_fifty_labels_with_short_names(client: TestClient) -> None:
    fifty = {f"label-{number}": "x" for number in range(50)}
    job = post_job(client, labels=fifty)
    more = patched(client, job, "*", labels={"one-more": "x"}, name="n")
    assert [(f["pointer"], f["code"]) for f in more.json()["errors"]] == [("/labels", "too_long")]
    long = patched(client, job, "*", labels={"n" * 65: "x"})
    assert [f["pointer"] for f in long.json()["errors"]] == [f"/labels/{'n' * 65}"]
    kept = patched(client, job, "*", labels={"one-more": "x", "label-0": None})
    assert (kept.status_code, len(kept.json()["labels"])) == (200, 50)


def test_every_fault_of_a_change_is_told(client: TestClient) -> None:
    job = post_job(client)
    body = '{"name": "a\\u0000b", "labls": {}, "budget": {"max_steps": 0, "max_queue_s": 1e300}}'
    answer = client.patch(
        job["links"]["self"],
        content=body,
        headers={"If-Match": "*", "Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]} == {
        ("/name", "illegal_character"),
        ("/labls", "unknown_field"),
        ("/budget/max_steps", "greater_than_equal"),
        ("/budget/max_queue_s", "out_of_range"),
    }


def test_a_finished_job_cannot_be_changed(client: TestClient, store: ObjectStore) -> None:
    job = post_job(client)
    outputs.succeed(store)
    answer = patched(client, job, "*", name="late")
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")


def test_all_seven_ceilings_are_shown(client: TestClient) -> None:
    job = post_job(
        client,
        budget={
            "max_steps": 20,
            "max_reward_queries": 160,
            "max_gpu_seconds": 400,
            "max_wall_clock_s": 4000,
            "max_queue_s": 600,
            "max_cost": {"amount": "12.50", "currency": "USD"},
            "deadline_at": "2030-01-01T00:00:00Z",
        },
    )
    claim = lives.claimed()
    lives.told(claim, trainer_lines.started(), *map(trainer_lines.step, range(1, 11)))
    budget = client.get(job["links"]["self"]).json()["budget"]
    assert budget["reward_queries"] == {"limit": 160, "used": 80, "fraction": 0.5}
    assert budget["cost"] == {"limit": "12.50", "used": "0.00", "currency": "USD", "fraction": 0.0}
    for name in ("steps", "gpu_seconds", "wall_clock_s", "deadline_s", "queue_s"):
        assert budget[name]["limit"] > 0
        assert 0 <= budget[name]["fraction"] < 1
    assert budget["next_ceiling"] in {"max_steps", "max_reward_queries"}
    assert budget["on_exhausted"] == "finish"


def test_a_deleted_job_stays_and_its_files_are_gone(client: TestClient, store: ObjectStore) -> None:
    job = post_job(client)
    outputs.succeed(store)
    sheet = client.get(job["links"]["self"]).json()["sheet"]["url"]
    samples = client.get(job["links"]["samples"]).json()["data"]
    files = [sheet, *(f"/v1/samples/{sample['id']}/video" for sample in samples)]
    assert [client.get(file).status_code for file in files] == [302, 302, 302]
    answer = client.delete(job["links"]["self"])
    assert answer.status_code == 200
    tombstone = answer.json()
    assert (tombstone["status"], tombstone["allowed_actions"]) == ("succeeded", [])
    assert tombstone["deleted_at"] is not None
    assert client.get(job["links"]["self"]).json() == tombstone
    assert client.delete(job["links"]["self"]).json() == tombstone
    for file in files:
        gone = client.get(file)
        assert (gone.status_code, gone.json()["code"]) == (410, "artifact_expired")


def test_a_job_under_way_cannot_be_deleted(client: TestClient) -> None:
    job = post_job(client)
    answer = client.delete(job["links"]["self"])
    assert (answer.status_code, answer.json()["code"]) == (409, "invalid_transition")
    assert "cancel it first" in answer.json()["detail"]


def test_another_project_can_neither_change_nor_delete_it(
    client: TestClient, other_team: Team
) -> None:
    job = post_job(client)
    client.post(job["links"]["cancel"], headers=new_key())
    path, rival = job["links"]["self"], other_team.headers
    assert client.delete(path, headers=rival).status_code == 404
    answer = client.patch(path, json={"name": "x"}, headers={**rival, "If-Match": "*"})
    assert answer.status_code == 404
    assert client.get(path).json()["status"] == Status.CANCELLED


def test_a_failed_job_offers_only_what_it_has_something_for(client: TestClient) -> None:
    job = post_job(client)
    claim = lives.claimed()
    hopeless = lives.BROKEN.model_copy(update={"retryable": False})
    lives.ended(claim, Status.FAILED, error=hopeless)
    shown = client.get(job["links"]["self"]).json()
    assert shown["allowed_actions"] == ["delete"]
    assert shown["status_reason"] == "It broke."
