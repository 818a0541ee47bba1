"""Prompt sets: stored, versioned, listed."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.api.teams import new_key

PROMPTS = [
    {"prompt": "a red circle moving left", "target": "moving left", "heldout": False},
    {"prompt": "a blue square moving up", "target": "moving up", "heldout": True},
    {"prompt": "a green star", "heldout": False},
]


def test_a_prompt_set_is_stored_with_its_counts(client: TestClient) -> None:
    answer = client.post(
        "/v1/prompt-sets", json={"name": "ways", "prompts": PROMPTS}, headers=new_key()
    )
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/prompt-sets/{body['id']}"
    assert (body["version"], body["size"], body["training"], body["heldout"]) == (1, 3, 2, 1)
    assert body["targets"] == ["moving left", "moving up"]
    assert [prompt["prompt"] for prompt in body["prompts"]] == [p["prompt"] for p in PROMPTS]
    assert client.get(answer.headers["Location"]).json() == body


def test_the_same_name_is_a_new_version_and_the_old_one_stays(client: TestClient) -> None:
    first, second = (
        client.post(
            "/v1/prompt-sets", json={"name": "ways", "prompts": prompts}, headers=new_key()
        ).json()
        for prompts in (PROMPTS, PROMPTS[:1])
    )
    assert (first["version"], second["version"]) == (1, 2)
    assert client.get(f"/v1/prompt-sets/{first['id']}").json()["size"] == 3
    page = client.get("/v1/prompt-sets", params={"limit": 1})
    assert [row["id"] for row in page.json()["data"]] == [second["id"]]
    rest = client.get(page.links["next"]["url"]).json()
    assert [row["id"] for row in rest["data"]] == [first["id"]]
    assert "prompts" not in rest["data"][0]
    assert rest["has_more"] is False


def test_all_faults_of_a_prompt_set_come_at_once(client: TestClient) -> None:
    wrong = {
        "name": "  ",
        "prompts": [{"prompt": ""}, {"prompt": "x", "lable": "y"}, {"prompt": "a\u0000"}],
        "owner": "me",
    }
    answer = client.post("/v1/prompt-sets", json=wrong, headers=new_key())
    assert answer.status_code == 422
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {
        "/name",
        "/prompts/0/prompt",
        "/prompts/1/lable",
        "/prompts/2/prompt",
        "/owner",
    }
    empty = client.post("/v1/prompt-sets", json={"name": "x", "prompts": []}, headers=new_key())
    assert empty.json()["errors"][0]["pointer"] == "/prompts"
    assert client.get("/v1/prompt-sets").json()["data"] == []
