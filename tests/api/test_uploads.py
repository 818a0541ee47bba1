"""Uploads: stored, found, listed, removed; and what prompts say of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from domain import uploads
from domain.store import ObjectStore
from tests.api.files import BY_TYPE, MP4, PNG, post_file, upload
from tests.api.teams import Team, new_key, post_job
from tests.factories import PROMPTS, document
from vader_core.catalogue import BUILT_IN


def with_image(image: str) -> dict[str, Any]:
    return {"inline": [{**PROMPTS[0], "image": image}, *PROMPTS[1:]]}


def stored(store: ObjectStore) -> list[str]:
    return list(store.list("uploads/"))


@pytest.mark.parametrize("content_type", BY_TYPE)
def test_a_file_of_every_type_is_stored_and_comes_back(
    client: TestClient, content_type: str
) -> None:
    data = BY_TYPE[content_type]
    answer = post_file(client, data, content_type, name="my file")
    body = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/uploads/{body['id']}"
    assert body["id"].startswith("upl_")
    assert (body["name"], body["content_type"]) == ("my file", content_type)
    assert body["medium"] == content_type.partition("/")[0]
    assert (body["size_bytes"], body["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    found = client.get(answer.headers["Location"]).json()
    link = urlsplit(found.pop("url"))
    assert found.pop("url_expires_at") > body["created_at"]
    assert found == body
    assert client.get(f"{link.path}?{link.query}", headers={"Authorization": ""}).content == data


def test_the_same_bytes_are_the_same_upload_and_stored_once(
    client: TestClient, store: ObjectStore
) -> None:
    first, second = post_file(client, name="a.png"), post_file(client, name="b.png")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert len(stored(store)) == 1


def test_a_repeated_request_gets_the_first_answer(client: TestClient, store: ObjectStore) -> None:
    headers = {"Idempotency-Key": "mine", "Content-Type": "image/png"}
    first, again = (client.post("/v1/uploads", content=PNG, headers=headers) for _ in range(2))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    other = client.post("/v1/uploads", content=PNG + b"!", headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"
    assert len(stored(store)) == 1


def test_two_projects_with_the_same_bytes_have_their_own(
    client: TestClient, other_team: Team
) -> None:
    ours = upload(client)
    headers = {**new_key(), **other_team.headers, "Content-Type": "image/png"}
    theirs = client.post("/v1/uploads", content=PNG, headers=headers).json()["id"]
    assert theirs != ours
    listed = client.get("/v1/uploads", headers=other_team.headers).json()["data"]
    assert [row["id"] for row in listed] == [theirs]


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (MP4, "image/png", 422, "content_mismatch"),
        (b"", "image/png", 422, "content_mismatch"),
        (PNG, "image/gif", 415, "unsupported_media_type"),
        (PNG, "application/json", 415, "unsupported_media_type"),
    ],
)
def test_a_file_that_is_not_what_may_be_uploaded_is_refused(
    client: TestClient, store: ObjectStore, data: bytes, content_type: str, status: int, code: str
) -> None:
    answer = post_file(client, data, content_type)
    problem = answer.json()
    assert answer.status_code == status
    assert code in {problem["code"], *(fault["code"] for fault in problem.get("errors", []))}
    assert stored(store) == []
    assert client.get("/v1/uploads").json()["data"] == []


def test_a_file_that_is_too_large_is_refused_announced_or_not(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = uploads.Kind("image", ".png", 100, uploads.KINDS["image/png"].begins)
    monkeypatch.setitem(uploads.KINDS, "image/png", small)

    def in_pieces() -> Iterator[bytes]:
        yield PNG
        yield b"x" * 200

    headers = {**new_key(), "Content-Type": "image/png"}
    announced = client.post("/v1/uploads", content=PNG + b"x" * 200, headers=headers)
    streamed = client.post("/v1/uploads", content=in_pieces(), headers=headers)
    for answer in (announced, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "100 bytes" in streamed.json()["detail"]


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "x" * 201, "line\nbreak"])
def test_a_name_that_is_none_is_refused(client: TestClient, name: str) -> None:
    answer = post_file(client, name=name)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "name"


def test_an_upload_needs_an_idempotency_key_and_leaves_nothing_without(
    client: TestClient, store: ObjectStore
) -> None:
    answer = client.post("/v1/uploads", content=PNG, headers={"Content-Type": "image/png"})
    assert answer.json()["code"] == "idempotency_key_missing"
    assert stored(store) == []


def test_uploads_are_listed_newest_first_in_pages(client: TestClient) -> None:
    made = [upload(client, PNG + bytes([i])) for i in range(3)]
    page = client.get("/v1/uploads", params={"limit": 2})
    rest = client.get(page.links["next"]["url"]).json()
    listed = [row["id"] for row in [*page.json()["data"], *rest["data"]]]
    assert listed == made[::-1]


def test_an_unused_upload_is_removed_with_its_bytes(client: TestClient, store: ObjectStore) -> None:
    name = upload(client)
    assert client.delete(f"/v1/uploads/{name}").status_code == 204
    assert client.get(f"/v1/uploads/{name}").status_code == 404
    assert client.delete(f"/v1/uploads/{name}").status_code == 404
    assert stored(store) == []
    assert post_file(client).status_code == 201


def test_an_upload_in_a_prompt_set_cannot_be_removed(client: TestClient) -> None:
    name = upload(client)
    prompts = with_image(name)["inline"]
    made = client.post("/v1/prompt-sets", json={"name": "x", "prompts": prompts}, headers=new_key())
    answer = client.delete(f"/v1/uploads/{name}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert answer.json()["used_by"] == [made.json()["id"]]


def test_an_upload_of_a_job_can_be_removed_once_the_job_has_ended(
    image_client: TestClient,
) -> None:
    name = upload(image_client)
    job = post_job(image_client, base_model="from-image", prompts=all_with(name))
    assert image_client.delete(f"/v1/uploads/{name}").json()["used_by"] == [job["id"]]
    image_client.post(f"{job['links']['self']}/cancel", headers=new_key())
    assert image_client.delete(f"/v1/uploads/{name}").status_code == 204


def all_with(image: str) -> dict[str, Any]:
    return {"inline": [{**prompt, "image": image} for prompt in PROMPTS]}


@pytest.fixture
def image_client(app: FastAPI, client: TestClient) -> TestClient:
    """A client of a service that has an image-to-video base model."""
    tiny = BUILT_IN.base_models["tiny-unet"]
    row = tiny.model_copy(update={"id": "from-image", "needs_image": True})
    base_models = {**BUILT_IN.base_models, row.id: row}
    app.state.catalogue = BUILT_IN.model_copy(update={"base_models": base_models})
    return client


def test_images_that_are_missing_foreign_or_videos_are_told_with_all_other_faults(
    client: TestClient, other_team: Team
) -> None:
    headers = {**new_key(), **other_team.headers, "Content-Type": "image/png"}
    foreign = client.post("/v1/uploads", content=PNG, headers=headers).json()["id"]
    video = upload(client, MP4, "video/mp4")
    named = ["nothing.png", foreign, video, upload(client)]
    inline = [{**p, "image": name} for p, name in zip(PROMPTS, named, strict=True)]
    inline[3]["lable"] = "x"
    wanted = {(f"/{i}/image", "unknown_image") for i in range(3)}
    answer = client.post(
        "/v1/jobs",
        json=document(prompts={"inline": inline}, budget={"max_steps": 0}),
        headers=new_key(),
    )
    faults = {(f["pointer"], f["code"]) for f in answer.json()["errors"]}
    assert {(f"/prompts/inline{where}", code) for where, code in wanted} <= faults
    assert ("/budget/max_steps", "greater_than_equal") in faults
    assert ("/prompts/inline/3/lable", "unknown_field") in faults
    made = client.post("/v1/prompt-sets", json={"name": "x", "prompts": inline}, headers=new_key())
    faults = {(f["pointer"], f["code"]) for f in made.json()["errors"]}
    assert faults == {("/prompts/3/lable", "unknown_field")} | {
        (f"/prompts{where}", code) for where, code in wanted
    }


def test_a_text_to_video_job_says_that_images_are_not_used(client: TestClient) -> None:
    prompts = with_image(upload(client))
    answer = client.post("/v1/jobs", json=document(prompts=prompts), headers=new_key())
    faults = [(f["pointer"], f["code"]) for f in answer.json()["errors"]]
    assert faults == [("/prompts/inline/0/image", "image_not_used")]


def test_an_upload_over_a_real_socket_may_be_chunked(
    serve: Any, team: Team, store: ObjectStore
) -> None:
    data = PNG + bytes(3 * 2**20)

    def in_pieces() -> Iterator[bytes]:
        for start in range(0, len(data), 50_000):
            yield data[start : start + 50_000]

    with serve() as url:
        headers = {**new_key(), **team.headers, "Content-Type": "image/png"}
        answer = httpx.post(f"{url}/v1/uploads", content=in_pieces(), headers=headers, timeout=30)
    assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()
    assert store.stat(stored(store)[0]) is not None
