"""Prompt sets: stored, versioned, listed, looked through, and checked without being stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from domain import db, quotas
from tests.api.teams import Team, new_key, post_job
from tests.factories import document

PATH = "/v1/prompt-sets"
PROMPTS = [
    {"prompt": "a red circle moving left", "target": "moving left", "heldout": False},
    {"prompt": "a blue square moving up", "target": "moving up", "heldout": True},
    {"prompt": "a green star", "heldout": False},
]


def stored(client: TestClient, prompts: list[Any] = PROMPTS, **params: str) -> Any:
    body = {"name": "ways", "prompts": prompts}
    return client.post(PATH, json=body, headers=new_key(), params=params)


def sent(
    client: TestClient, body: bytes | str, content_type: str, *, path: str = PATH, **params: str
) -> Any:
    headers = {**new_key(), "Content-Type": content_type}
    return client.post(path, content=body, headers=headers, params=params)


def all_prompts(client: TestClient, made: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(
        made["prompts_url"], params={"limit": 100, **params}
    ).json()["data"]
    return found


def faults(answer: Any) -> set[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]}


def test_a_prompt_set_is_stored_with_its_counts(client: TestClient) -> None:
    answer = stored(client)
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/prompt-sets/{body['id']}"
    assert (body["version"], body["size"], body["training"], body["heldout"]) == (1, 3, 2, 1)
    assert body["targets"] == ["moving left", "moving up"]
    assert body["report"]["with_target"] == 2
    codes = [warning["code"] for warning in body["report"]["warnings"]]
    assert codes == ["missing_targets", "few_heldout_prompts"]
    assert client.get(answer.headers["Location"]).json() == body


def test_its_prompts_are_paged_with_their_sides(client: TestClient) -> None:
    made = stored(client).json()
    first = client.get(made["prompts_url"], params={"limit": 2})
    assert [row["prompt"] for row in first.json()["data"]] == [p["prompt"] for p in PROMPTS[:2]]
    assert [row["side"] for row in first.json()["data"]] == ["training", "heldout"]
    rest = client.get(first.links["next"]["url"]).json()
    assert [(row["index"], row["prompt"]) for row in rest["data"]] == [(2, "a green star")]
    assert rest["has_more"] is False
    assert rest["data"][0]["id"].startswith("p_")
    heldout = all_prompts(client, made, side="heldout")
    assert [row["index"] for row in heldout] == [1]
    foreign = client.get(
        made["prompts_url"], params={"side": "heldout", "cursor": first.json()["next_cursor"]}
    )
    assert foreign.json()["code"] == "invalid_cursor"


def test_the_side_at_another_fraction_is_shown_and_only_grows(client: TestClient) -> None:
    made = stored(client, [{"prompt": f"a circle {number}"} for number in range(60)]).json()
    at = {
        fraction: {
            row["id"]
            for row in all_prompts(client, made, side="heldout", heldout_fraction=fraction)
        }
        for fraction in (0.1, 0.2, 0.6)
    }
    assert at[0.1] < at[0.2] < at[0.6]
    assert len(at[0.2]) == made["heldout"]


def test_the_same_name_is_a_new_version_and_the_old_one_stays(client: TestClient) -> None:
    first, second = (stored(client, prompts).json() for prompts in (PROMPTS, PROMPTS[:1]))
    assert (first["version"], second["version"]) == (1, 2)
    assert client.get(f"{PATH}/{first['id']}").json()["size"] == 3
    page = client.get(PATH, params={"limit": 1})
    assert [row["id"] for row in page.json()["data"]] == [second["id"]]
    rest = client.get(page.links["next"]["url"]).json()
    assert [row["id"] for row in rest["data"]] == [first["id"]]
    assert "report" not in rest["data"][0]
    assert rest["has_more"] is False


def test_versions_of_one_name_can_be_listed(client: TestClient) -> None:
    made = [stored(client).json()["id"] for _ in range(2)]
    client.post(PATH, json={"name": "others", "prompts": PROMPTS}, headers=new_key())
    found = client.get(PATH, params={"name": "ways"}).json()["data"]
    assert [row["id"] for row in found] == made[::-1]
    assert client.get(PATH, params={"name": "none"}).json()["data"] == []


def test_a_prompt_keeps_its_side_between_versions_and_jobs(client: TestClient) -> None:
    texts = [f"a red circle {number}" for number in range(40)]
    first = stored(client, texts_as_prompts(texts)).json()
    second = stored(
        client, texts_as_prompts([f"  {t.upper()}" for t in texts[::-1]] + ["x"])
    ).json()
    one = {row["prompt"]: row["side"] for row in all_prompts(client, first)}
    two = {row["prompt"].strip().lower(): row["side"] for row in all_prompts(client, second)}
    assert all(two[text] == side for text, side in one.items())
    assert set(one.values()) == {"training", "heldout"}


def texts_as_prompts(texts: list[str]) -> list[dict[str, str]]:
    return [{"prompt": text} for text in texts]


def test_all_faults_of_a_prompt_set_come_at_once(client: TestClient) -> None:
    wrong = {
        "name": "  ",
        "prompts": [
            {"prompt": ""},
            {"prompt": "x", "lable": "y"},
            {"prompt": "a\u0000"},
            {"prompt": "same", "heldout": True},
            {"prompt": "Same ", "heldout": False},
            {"prompt": "z", "image": "upl_01m84gdh6ne7rapkh9569wzyh2"},
        ],
        "owner": "me",
    }
    answer = client.post(PATH, json=wrong, headers=new_key())
    assert {pointer for pointer, _ in faults(answer)} == {
        "/name",
        "/prompts/0/prompt",
        "/prompts/1/lable",
        "/prompts/2/prompt",
        "/prompts/3/heldout",
        "/prompts/4/heldout",
        "/prompts/5/image",
        "/owner",
    }
    empty = client.post(PATH, json={"name": "x", "prompts": []}, headers=new_key())
    assert empty.json()["errors"][0]["pointer"] == "/prompts"
    assert client.get(PATH).json()["data"] == []


def test_json_lines_hold_objects_and_strings(client: TestClient) -> None:
    lines = "\r\n".join([json.dumps(PROMPTS[0]), "", '"a blue square"', json.dumps(PROMPTS[1]), ""])
    answer = sent(client, lines, "application/jsonl; charset=utf-8", name="lines")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["size"]) == ("lines", 3)
    assert [row["prompt"] for row in all_prompts(client, made)] == [
        PROMPTS[0]["prompt"],
        "a blue square",
        PROMPTS[1]["prompt"],
    ]
    told = {warning["code"]: warning for warning in made["report"]["warnings"]}
    assert told["empty_lines"]["pointers"] == ["/lines/2"]
    assert told["missing_targets"]["pointers"] == ["/lines/3"]


def test_plain_text_is_one_prompt_a_line(client: TestClient) -> None:
    body = "\ufeffa red circle\n  a blue square \r\n\nein grüner Stern\n".encode()
    made = sent(client, body, "text/plain", name="text").json()
    assert [row["prompt"] for row in all_prompts(client, made)] == [
        "a red circle",
        "a blue square",
        "ein grüner Stern",
    ]
    assert made["report"]["empty_lines"] == 1


def test_all_faulty_lines_come_at_once_with_their_places(client: TestClient) -> None:
    body = b"\n".join(
        [
            b'{"prompt": "a red circle", "heldout": true}',
            b'{"prompt": "caf\xe9"}',
            b'{"prompt": ',
            b'{"prompt": "x", "targte": "y"}',
            b"17",
            b'{"prompt": "A red circle", "heldout": false}',
            b'{"prompt": "' + b"x" * 70_000 + b'"}',
        ]
    )
    answer = sent(client, body, "application/x-ndjson", name="lines")
    assert {pointer for pointer, _ in faults(answer)} == {
        "/lines/1/heldout",
        "/lines/2",
        "/lines/3",
        "/lines/4/targte",
        "/lines/5",
        "/lines/6/heldout",
        "/lines/7",
    }
    by_line = {fault["line"]: fault for fault in answer.json()["errors"]}
    assert list(by_line) == sorted(by_line)
    assert by_line[2]["code"] == "not_utf8"
    assert by_line[2]["byte_offset"] == body.index(b"\xe9")
    assert by_line[7]["code"] == "line_too_long"
    assert client.get(PATH).json()["data"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("a prompt".encode("utf-16"), "not_utf8"),
        (b"x\n" * 20_001, "too_many_lines"),
        (b"x\n" * 10_001, "too_long"),
        (b"\n \n", "too_short"),
    ],
)
def test_bodies_that_hold_no_set_are_refused(client: TestClient, body: bytes, code: str) -> None:
    answer = sent(client, body, "text/plain", name="text")
    assert code in {found for _, found in faults(answer)}


def test_more_faults_than_anybody_reads_are_counted(client: TestClient) -> None:
    answer = sent(client, b'{"prompt": 1}\n' * 1500, "application/jsonl", name="x")
    found = answer.json()["errors"]
    assert len(found) == 1001
    assert found[-1]["code"] == "more_faults"
    assert "500 more" in found[-1]["detail"]


def test_the_name_stands_where_the_body_has_room_for_it(client: TestClient) -> None:
    missing = sent(client, b"a circle", "text/plain")
    twice = stored(client, PROMPTS, name="ways")
    for answer, code in ((missing, "missing"), (twice, "extra_forbidden")):
        assert answer.status_code == 422
        assert [(f["parameter"], f["code"]) for f in answer.json()["errors"]] == [("name", code)]


def test_other_media_types_character_sets_and_sizes_are_refused(client: TestClient) -> None:
    assert sent(client, b"<x/>", "application/xml", name="x").status_code == 415
    assert sent(client, b"x", "text/plain; charset=latin-1", name="x").status_code == 415
    assert sent(client, b"x" * (16 * 2**20 + 1), "text/plain", name="x").status_code == 413


def test_a_base_model_measures_the_prompts(client: TestClient) -> None:
    long = [{"prompt": "a red circle moving left " * 4, "heldout": True}]
    made = stored(client, [*PROMPTS, *long], base_model="tiny-unet").json()
    assert made["report"]["text"] == {
        "base_model": "tiny-unet@1",
        "limit": 16,
        "basis": "tokenizer",
        "longest": 22,
        "too_long": 1,
    }
    unknown = stored(client, PROMPTS, base_model="tiny-unte")
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["nearest"][0] == "tiny-unet@1"


def test_a_repeated_upload_is_answered_as_the_first(client: TestClient) -> None:
    headers = {**new_key(), "Content-Type": "text/plain"}
    first, again = (
        client.post(PATH, content=b"a circle", headers=headers, params={"name": "x"})
        for _ in range(2)
    )
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    other = client.post(PATH, content=b"a circle", headers=headers, params={"name": "y"})
    assert other.json()["code"] == "idempotency_key_reused"


def test_checking_a_set_stores_nothing_and_tells_the_same(client: TestClient) -> None:
    checked = client.post(f"{PATH}/validate", json={"name": "ways", "prompts": PROMPTS})
    assert checked.status_code == 200
    assert checked.json()["valid"] is True
    assert client.get(PATH).json()["data"] == []
    assert stored(client).json()["report"] == checked.json()["report"]
    again = client.post(f"{PATH}/validate", json={"name": "ways", "prompts": PROMPTS}).json()
    assert "unchanged" in {warning["code"] for warning in again["report"]["warnings"]}
    wrong = sent(client, b'{"prompt": 3}', "application/jsonl", path=f"{PATH}/validate", name="x")
    assert faults(wrong) == {("/lines/1/prompt", "string_type")}


def test_a_job_keeps_to_the_version_that_it_was_made_with(client: TestClient) -> None:
    prompts = document()["prompts"]["inline"]
    made = [stored(client, prompts[:length]).json() for length in (4, 4)]
    by_name = post_job(client, prompts={"prompt_set": "ways"})
    older = post_job(client, prompts={"prompt_set": "ways@v1"})
    pinned = [f"{one['id']}@v{one['version']}" for one in made]
    assert by_name["resolved_spec"]["prompts"]["prompt_set"] == pinned[1]
    assert older["resolved_spec"]["prompts"]["prompt_set"] == pinned[0]
    stored(client, prompts[1:])
    shown = client.get(by_name["links"]["self"]).json()
    assert shown["resolved_spec"]["prompts"]["prompt_set"] == pinned[1]


def test_a_version_is_deleted_once_no_open_job_needs_it(client: TestClient) -> None:
    made = stored(client, document()["prompts"]["inline"]).json()
    path = f"{PATH}/{made['id']}"
    job = post_job(client, prompts={"prompt_set": made["id"]})
    refused = client.delete(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert refused.json()["used_by"] == [job["id"]]
    client.post(job["links"]["cancel"], headers=new_key())
    assert [client.delete(path).status_code for _ in range(2)] == [204, 204]
    for gone in (client.get(path), client.get(made["prompts_url"])):
        assert (gone.status_code, gone.json()["code"]) == (410, "artifact_expired")
    assert client.get(PATH).json()["data"] == []
    again = client.post(
        "/v1/jobs", json=document(prompts={"prompt_set": made["id"]}), headers=new_key()
    )
    assert again.json()["errors"][0]["pointer"] == "/prompts/prompt_set"


def test_full_storage_refuses_more_prompt_sets(client: TestClient, team: Team) -> None:
    assert stored(client).status_code == 201
    with db.transaction() as session:
        quotas.set_limits(session, team.project_id, storage_bytes=10)
    refused = stored(client)
    assert (refused.status_code, refused.json()["quota"]) == (403, "storage_bytes")
