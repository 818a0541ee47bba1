"""Generations over REST: asked for, refused with every fault, waited for, shown, cancelled, deleted."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from domain import db, generations, quotas
from domain.ids import to_public
from domain.store import ObjectStore
from tests import generation_lives
from tests.api import outputs
from tests.api.files import MP4, upload
from tests.api.teams import Team, new_key, post_job
from vader_core.catalogue import BUILT_IN

PROMPT = generation_lives.PROMPT
BASE: dict[str, Any] = {"base_model": "tiny-unet", "prompt": PROMPT}


def ask(client: TestClient, headers: dict[str, str] | None = None, **body: Any) -> Any:
    return client.post("/v1/generations", json=body, headers={**new_key(), **(headers or {})})


def asked(client: TestClient, **body: Any) -> Any:
    """The body of a generation that was accepted."""
    answer = ask(client, **(body or BASE))
    assert answer.status_code == 202, answer.text
    return answer.json()


def faults(answer: Any) -> set[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]}


@pytest.fixture
def adapter(client: TestClient, store: ObjectStore) -> str:
    """The id of the adapter of a job that has ended."""
    job = post_job(client)
    outputs.succeed(store)
    found: str = client.get(job["links"]["self"]).json()["adapter"]["id"]
    return found


def test_a_generation_is_accepted_and_shown(client: TestClient, team: Team) -> None:
    answer = ask(client, **BASE, seed=3, num_videos=2)
    body = answer.json()
    assert answer.status_code == 202, answer.text
    assert body["id"].startswith("gen_")
    assert answer.headers["Location"] == body["links"]["self"] == f"/v1/generations/{body['id']}"
    assert (body["status"], body["terminal"], body["outputs"]) == ("queued", False, [])
    assert body["allowed_actions"] == ["cancel"]
    assert body["queue"]["position"] == 1
    maker = {"type": "api_key", "id": to_public("key", team.key_id), "name": "ads-ci"}
    assert body["created_by"] == maker
    assert (body["base_model"], body["adapter_id"]) == ("tiny-unet@1", None)
    assert body["spec"]["seeds"] == [3, 4]
    assert body["spec"]["video"]["num_frames"] == 8
    found = client.get(body["links"]["self"])
    assert found.json() == body
    assert found.headers["Retry-After"] == str(body["poll_after_s"])


def test_videos_stand_beside_the_base_models_with_links_and_scores(
    client: TestClient, store: ObjectStore, adapter: str
) -> None:
    body = asked(
        client,
        adapter=adapter,
        prompt=PROMPT,
        seeds=[11, 12],
        adapter_scale=0.5,
        compare_with_base=True,
        score_with=["tiny-text-match"],
    )
    assert (body["adapter_id"], body["base_model"]) == (adapter, "tiny-unet@1")
    claim = generation_lives.claimed()
    paths = {one["path"] for one in claim.inputs}
    assert paths == {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    generation_lives.succeeded(claim, store)
    shown = client.get(body["links"]["self"]).json()
    assert (shown["status"], shown["queue"], shown["poll_after_s"]) == ("succeeded", None, None)
    made = [(one["role"], one["seed"]) for one in shown["outputs"]]
    assert made == [("base", 11), ("base", 12), ("adapter", 11), ("adapter", 12)]
    for one in (*shown["outputs"], shown["sheet"]):
        answer = client.get(one["url"])
        assert answer.content == generation_lives.MP4
        assert len(answer.content) == one["size_bytes"]
    score = {"reward": "tiny-text-match@1", "score": 0.25, "reason": None}
    assert all(one["scores"] == [score] for one in shown["outputs"])
    assert shown["files_expire_at"] > shown["finished_at"]
    about_a_file = {"url", "url_expires_at", "sha256", "size_bytes"}
    assert set(shown["sheet"]) == about_a_file
    assert set(shown["outputs"][0]) == {"role", "seed", "scores", *about_a_file}


def test_links_are_for_those_who_may_read_files(client: TestClient, store: ObjectStore) -> None:
    path = asked(client)["links"]["self"]
    generation_lives.succeeded(generation_lives.claimed(), store)
    assert client.get(path).json()["outputs"][0]["url"]
    [output] = client.get(path, headers=make_reader(client)).json()["outputs"]
    assert (output["url"], output["url_expires_at"]) == (None, None)
    assert output["sha256"]


def make_reader(client: TestClient) -> dict[str, str]:
    """Headers of a key that may read jobs, and no files."""
    body = {"name": "reader", "scopes": ["jobs:read"]}
    answer = client.post("/v1/api-keys", json=body, headers=new_key())
    assert answer.is_success, answer.text
    return {"Authorization": f"Bearer {answer.json()['api_key']}"}


def test_an_adapter_goes_by_its_alias_too(client: TestClient, adapter: str) -> None:
    path = f"/v1/adapters/{adapter}/aliases/production"
    moved = client.put(path, json={}, headers={"If-None-Match": "*"})
    assert moved.is_success, moved.text
    for name in ("@production", f"{adapter}@production"):
        assert asked(client, adapter=name, prompt=PROMPT)["adapter_id"] == adapter
    listed = client.get("/v1/generations", params={"adapter": "@production"}).json()["data"]
    assert len(listed) == 2


def test_all_faults_come_at_once(client: TestClient, other_team: Team) -> None:
    video = upload(client, MP4, "video/mp4")
    answer = ask(
        client,
        adapter="ad_01kax4b7c8d9e0f1g2h3j4k5m6",
        prompt="a\0b",
        image=video,
        num_videos=5,
        score_with=["none"],
        extra=1,
    )
    assert faults(answer) == {
        ("/adapter", "unknown_adapter"),
        ("/prompt", "illegal_character"),
        ("/image", "unknown_image"),
        ("/num_videos", "less_than_equal"),
        ("/score_with/0", "unknown_reward"),
        ("/extra", "unknown_field"),
    }


@pytest.mark.parametrize("body", [{}, [], "x", 3, {"prompt": PROMPT}])
def test_a_body_that_names_nothing_to_make_videos_is_refused(
    client: TestClient, body: object
) -> None:
    answer = client.post("/v1/generations", json=body, headers=new_key())
    assert answer.status_code == 422


def test_another_teams_adapter_does_not_exist(
    client: TestClient, other_team: Team, adapter: str
) -> None:
    theirs = other_team.headers
    assert faults(ask(client, theirs, adapter=adapter, prompt=PROMPT)) == {
        ("/adapter", "unknown_adapter")
    }
    path = asked(client, adapter=adapter, prompt=PROMPT)["links"]["self"]
    for answer in (
        client.get(path, headers=theirs),
        client.get(path, headers={**theirs, "Prefer": "wait=5"}),
        client.post(f"{path}/cancel", headers={**theirs, **new_key()}),
        client.delete(path, headers=theirs),
    ):
        assert answer.status_code == 404
    assert client.get("/v1/generations", headers=theirs).json()["data"] == []


def test_a_first_image_reaches_the_generator_and_stays_while_it_is_needed(
    app: FastAPI, client: TestClient
) -> None:
    row = BUILT_IN.base_models["tiny-wan"].model_copy(update={"needs_image": True})
    models = {**BUILT_IN.base_models, "tiny-wan": row}
    app.state.catalogue = BUILT_IN.model_copy(update={"base_models": models})
    image = upload(client)
    body = asked(client, base_model="tiny-wan", prompt=PROMPT, image=image)
    path = f"/v1/uploads/{image}"
    assert client.delete(path).json()["used_by"] == [body["id"]]
    claim = generation_lives.claimed()
    assert [one["path"] for one in claim.inputs] == [f"images/{image}"]
    generation_lives.succeeded(claim)
    assert client.delete(path).status_code == 204


def test_a_waiting_post_is_answered_with_the_videos(client: TestClient, store: ObjectStore) -> None:
    done: list[Any] = []

    def make() -> None:
        give_up_at = time.monotonic() + 20
        while not done and time.monotonic() < give_up_at:
            try:
                done.append(generation_lives.succeeded(generation_lives.claimed(), store))
            except AssertionError:
                time.sleep(0.05)

    making = threading.Thread(target=make)
    making.start()
    key = new_key()
    answer = client.post("/v1/generations", json=BASE, headers={**key, "Prefer": "wait=30"})
    making.join()
    body = answer.json()
    assert (answer.status_code, body["status"]) == (202, "succeeded")
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert answer.headers["Location"] == body["links"]["self"]
    assert client.get(body["outputs"][0]["url"]).status_code == 200
    # A client that was cut off asks again, and gets the same videos.
    again = client.post("/v1/generations", json=BASE, headers={**key, "Prefer": "wait=30"})
    assert (again.json()["id"], again.json()["status"]) == (body["id"], "succeeded")
    assert again.headers["Idempotent-Replayed"] == "true"


def test_a_post_that_waits_in_vain_says_what_there_is(client: TestClient) -> None:
    answer = ask(client, {"Prefer": "wait=0"}, **BASE)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["Preference-Applied"] == "wait=0"


def test_a_repeated_request_is_the_same_generation(client: TestClient) -> None:
    key = new_key()
    first, again = (client.post("/v1/generations", json=BASE, headers=key) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_an_unchanged_generation_is_not_sent_again(client: TestClient) -> None:
    path = asked(client)["links"]["self"]
    tag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    generation_lives.claimed()
    changed = client.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["status"]) == (200, "running")


def test_a_waiting_read_is_answered_when_it_ends(client: TestClient) -> None:
    path = asked(client)["links"]["self"]
    ending = threading.Timer(0.3, generation_lives.succeeded, [generation_lives.claimed()])
    ending.start()
    answer = client.get(path, headers={"Prefer": "wait=30"})
    ending.join()
    assert answer.json()["status"] == "succeeded"


def test_a_failure_says_why(client: TestClient) -> None:
    path = asked(client)["links"]["self"]
    generation_lives.failed(generation_lives.claimed(), retryable=False)
    body = client.get(path).json()
    assert (body["status"], body["error"]["code"]) == ("failed", "generator_crashed")
    assert body["outputs"] == []


def test_cancelling_ends_it_and_can_be_done_once(client: TestClient) -> None:
    body = asked(client)
    generation_lives.claimed()
    answer = client.post(body["links"]["cancel"], headers=new_key())
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    again = client.post(body["links"]["cancel"], headers=new_key())
    assert again.status_code == 409
    assert again.json()["allowed_actions"] == ["delete"]


def test_deleting_removes_the_files_and_keeps_a_tombstone(
    client: TestClient, store: ObjectStore
) -> None:
    path = asked(client)["links"]["self"]
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["allowed_actions"]) == (409, ["cancel"])
    row = generation_lives.succeeded(generation_lives.claimed(), store)
    url = client.get(path).json()["outputs"][0]["url"]
    body = client.delete(path).json()
    assert body["deleted_at"]
    assert list(store.list(generations.attempts_prefix(row.id))) == []
    tombstone = client.get(path)
    assert tombstone.status_code == 200
    shown = tombstone.json()
    assert (shown["deleted_at"], shown["allowed_actions"]) == (body["deleted_at"], [])
    assert shown["outputs"][0]["url"] is None
    assert client.get(url).status_code in {404, 410}
    assert client.get("/v1/generations").json()["data"] == []
    assert client.delete(path).status_code == 200


def test_what_is_done_to_generations_stands_in_the_audit_log(client: TestClient) -> None:
    body = asked(client)
    client.post(body["links"]["cancel"], headers=new_key())
    client.delete(body["links"]["self"])
    entries = client.get("/v1/audit-log").json()["data"]
    done = [entry["action"] for entry in entries if entry["target"] == body["id"]]
    assert done == ["generation.delete", "generation.cancel", "generation.create"]


def test_the_list_is_paged_and_filtered(client: TestClient, adapter: str) -> None:
    ids = [asked(client)["id"] for _ in range(3)]
    with_adapter = asked(client, adapter=adapter, prompt=PROMPT)["id"]
    first = client.get("/v1/generations", params={"limit": 3})
    assert [one["id"] for one in first.json()["data"]] == [with_adapter, *ids[:0:-1]]
    rest = client.get(first.links["next"]["url"]).json()
    assert [one["id"] for one in rest["data"]] == ids[:1]
    assert not rest["has_more"]
    only = client.get("/v1/generations", params={"adapter": adapter}).json()["data"]
    assert [one["id"] for one in only] == [with_adapter]
    claim = generation_lives.claimed()
    running = client.get("/v1/generations", params={"status": "running"}).json()["data"]
    assert [one["status"] for one in running] == ["running"]
    assert len(client.get("/v1/generations?status=running&status=queued").json()["data"]) == 4
    generation_lives.succeeded(claim)
    wrong = client.get("/v1/generations", params={"adapter": "ad_none"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["parameter"] == "adapter"


def test_a_spent_quota_refuses_more(client: TestClient, team: Team) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, generations_a_month=1)
    asked(client)
    answer = ask(client, **BASE)
    assert (answer.status_code, answer.json()["code"]) == (403, "project_quota_exhausted")


def test_a_month_that_is_used_up_keeps_queued_ones_waiting_and_refuses_new_ones(
    client: TestClient, team: Team
) -> None:
    body = asked(client)
    path = body["links"]["self"]
    assert body["queue"]["reason"] == "no_free_gpu"
    tag = client.get(path).headers["ETag"]
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, gpu_seconds_a_month=0)
    held = client.get(path, headers={"If-None-Match": tag})
    assert (held.status_code, held.json()["queue"]["reason"]) == (200, "quota")
    answer = ask(client, **BASE)
    assert (answer.status_code, answer.json()["quota"]) == (403, "gpu_seconds_a_month")
    assert ask(client, **BASE, seed="x").status_code == 422, "faults are told first"


def test_a_key_without_the_scope_makes_none(client: TestClient) -> None:
    reader = make_reader(client)
    answer = ask(client, reader, **BASE)
    assert (answer.status_code, answer.json()["scope"]) == (403, "generations:write")
    assert client.get("/v1/generations", headers=reader).status_code == 200
