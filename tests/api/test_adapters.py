"""The registry of adapters: lists, lineage, aliases, files, promoted checkpoints."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient

from domain import db, jobs
from domain.code_version import code_version
from domain.ids import from_public
from domain.store import ObjectStore
from tests import lives
from tests.api import outputs
from tests.api.teams import Team, make_team, new_key, post_job


@pytest.fixture
def job(client: TestClient, store: ObjectStore) -> dict[str, Any]:
    """A job that ended well, with checkpoints of steps 10 and 20."""
    path = post_job(client)["links"]["self"]
    outputs.succeed(store)
    body: dict[str, Any] = client.get(path).json()
    return body


def adapter_of(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = client.get(job["adapter"]["url"]).json()
    return body


def checkpoint_of(client: TestClient, job: dict[str, Any], step: int) -> str:
    rows = client.get(job["links"]["checkpoints"]).json()["data"]
    return str(next(row["id"] for row in rows if row["step"] == step))


def promote(client: TestClient, job: dict[str, Any], step: int) -> dict[str, Any]:
    path = f"/v1/jobs/{job['id']}/checkpoints/{checkpoint_of(client, job, step)}/promote"
    answer = client.post(path, headers=new_key())
    assert answer.status_code in {200, 201}, answer.text
    return {**answer.json(), "status_code": answer.status_code}


def mark_deleted(job: dict[str, Any]) -> None:
    with db.transaction() as session:
        row = session.get_one(jobs.Job, from_public("job", job["id"]))
        row.deleted_at = db.utc_now()


def put_alias(client: TestClient, adapter: str, name: str, **headers: str) -> Any:
    return client.put(f"/v1/adapters/{adapter}/aliases/{name}", headers=headers)


def test_an_adapter_tells_where_it_comes_from_and_how_it_did(
    client: TestClient, job: dict[str, Any]
) -> None:
    adapter = adapter_of(client, job)
    assert (adapter["kind"], adapter["job_id"], adapter["step"]) == ("final", job["id"], 20)
    assert adapter["base_model"] == "tiny-unet@1"
    assert adapter["verdict"] == adapter["evaluation"]["verdict"] == "improved"
    assert all(len(file["sha256"]) == 64 for file in adapter["files"])
    lineage = adapter["lineage"]
    assert lineage["spec_hash"] == job["spec_hash"]
    assert lineage["rewards"] == ["tiny-action@1"]
    assert lineage["prompt_set"] is None
    assert lineage["ancestors"] == []
    assert lineage["versions"]
    assert lineage["code_version"] == code_version()


def test_a_list_can_be_narrowed_and_paged(client: TestClient, job: dict[str, Any]) -> None:
    final, promoted = job["adapter"]["id"], promote(client, job, 10)["id"]
    assert put_alias(client, final, "best").status_code == 200

    def listed(**query: Any) -> list[str]:
        answer = client.get("/v1/adapters", params=query)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["data"]]

    assert listed() == [promoted, final]
    assert listed(base_model="tiny-unet") == listed(job=job["id"]) == [promoted, final]
    assert listed(base_model="tiny-wan") == []
    assert listed(alias="best") == [final]
    page = client.get("/v1/adapters", params={"limit": 1})
    assert [row["id"] for row in page.json()["data"]] == [promoted]
    assert 'rel="next"' in page.headers["Link"]
    assert listed(limit=1, cursor=page.json()["next_cursor"]) == [final]
    wrong = client.get("/v1/adapters", params={"cursor": page.json()["next_cursor"], "alias": "a"})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_cursor")


def test_another_projects_adapters_are_not_there(
    client: TestClient, job: dict[str, Any], other_team: Team
) -> None:
    adapter = job["adapter"]["id"]
    put_alias(client, adapter, "production")
    client.headers.update(other_team.headers)
    assert client.get("/v1/adapters").json()["data"] == []
    assert client.get("/v1/adapter-aliases").json()["data"] == []
    for answer in (
        client.get(f"/v1/adapters/{adapter}"),
        client.get(f"/v1/adapters/{adapter}/files"),
        put_alias(client, adapter, "mine"),
        client.delete(f"/v1/adapters/{adapter}/aliases/production"),
        client.get("/v1/adapter-aliases/production"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_an_alias_is_moved_only_by_those_who_know_where_it_points(
    client: TestClient, job: dict[str, Any]
) -> None:
    first, second = job["adapter"]["id"], promote(client, job, 10)["id"]
    made = put_alias(client, first, "production", **{"If-None-Match": "*"})
    assert (made.status_code, made.json()["adapter_id"]) == (200, first)
    assert put_alias(client, first, "production").headers["ETag"] == made.headers["ETag"]
    blind = put_alias(client, second, "production")
    assert (blind.status_code, blind.json()["code"]) == (428, "precondition_required")
    again = put_alias(client, second, "production", **{"If-None-Match": "*"})
    assert (again.status_code, again.json()["code"]) == (412, "etag_mismatch")
    moved = put_alias(client, second, "production", **{"If-Match": made.headers["ETag"]})
    assert (moved.status_code, moved.json()["adapter_id"]) == (200, second)
    stale = put_alias(client, first, "production", **{"If-Match": made.headers["ETag"]})
    assert stale.status_code == 412
    shown = client.get("/v1/adapter-aliases/production")
    assert shown.headers["ETag"] == moved.headers["ETag"]
    assert client.get("/v1/adapter-aliases").json()["data"] == [shown.json()]
    assert client.get(f"/v1/adapters/{second}").json()["aliases"] == ["production"]
    assert client.get(f"/v1/adapters/{first}").json()["aliases"] == []


@pytest.mark.parametrize("tag", ["production", '"x"', "*"])
def test_a_tag_that_no_alias_has_moves_nothing(
    client: TestClient, job: dict[str, Any], tag: str
) -> None:
    answer = put_alias(client, job["adapter"]["id"], "production", **{"If-Match": tag})
    assert answer.status_code == 412
    assert client.get("/v1/adapter-aliases").json()["data"] == []


@pytest.mark.parametrize("name", ["Prod", "1st", "with space", "a" * 64])
def test_an_illegal_alias_is_refused(client: TestClient, job: dict[str, Any], name: str) -> None:
    answer = put_alias(client, job["adapter"]["id"], name)
    assert answer.status_code in {400, 422}, answer.text


def test_an_alias_is_removed_where_it_points(client: TestClient, job: dict[str, Any]) -> None:
    first, second = job["adapter"]["id"], promote(client, job, 10)["id"]
    tag = put_alias(client, first, "production").headers["ETag"]
    path = "/v1/adapters/{}/aliases/production"
    assert client.delete(path.format(second)).status_code == 404
    stale = client.delete(path.format(first), headers={"If-Match": '"99"'})
    assert stale.status_code == 412
    assert client.delete(path.format(first), headers={"If-Match": tag}).status_code == 204
    assert client.get("/v1/adapter-aliases/production").status_code == 404


def test_a_checkpoint_is_promoted_once_and_keeps_its_files(
    client: TestClient, job: dict[str, Any]
) -> None:
    first = promote(client, job, 10)
    assert first["status_code"] == 201
    assert (first["kind"], first["step"]) == ("promoted", 10)
    assert first["checkpoint_id"] == checkpoint_of(client, job, 10)
    assert [file["path"] for file in first["files"]] == ["adapter_model.safetensors"]
    assert first["verdict"] is None
    again = promote(client, job, 10)
    assert (again["status_code"], again["id"]) == (200, first["id"])
    assert client.get(f"/v1/jobs/{job['id']}").json()["adapter"]["id"] == job["adapter"]["id"]


def test_a_checkpoint_that_is_given_up_cannot_be_promoted_but_one_that_was_stays(
    client: TestClient, store: ObjectStore
) -> None:
    job = post_job(client)
    claim = outputs.start()
    lives.checkpointed(claim, (10, 20, 30))
    kept = promote(client, job, 10)
    second = checkpoint_of(client, job, 20)
    prefix = lives.pruned(claim, keep_last=1)
    assert {old.kept is None for old in prefix} == {True, False}
    answer = client.post(f"/v1/jobs/{job['id']}/checkpoints/{second}/promote", headers=new_key())
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_expired")
    assert promote(client, job, 10)["id"] == kept["id"]
    assert client.get(kept["files"][0]["url"]).status_code == 302
    told = client.get(job["links"]["events"], params={"type": "job.adapter_ready"}).json()["data"]
    assert [event["data"]["adapter_id"] for event in told] == [kept["id"]]


def test_unknown_checkpoints_cannot_be_promoted(client: TestClient, job: dict[str, Any]) -> None:
    for name in ("ck_nothing", job["id"], "ck_01h455vb4pex5vsknk084sn02q"):
        path = f"/v1/jobs/{job['id']}/checkpoints/{name}/promote"
        assert client.post(path, headers=new_key()).status_code == 404


def test_deleted_files_are_gone_and_the_entry_stays(
    client: TestClient, job: dict[str, Any]
) -> None:
    adapter = adapter_of(client, job)
    mark_deleted(job)
    shown = client.get(f"/v1/adapters/{adapter['id']}")
    assert (shown.status_code, shown.json()["deleted_at"] is None) == (200, False)
    assert client.get("/v1/adapters").json()["data"] == []
    for answer in (
        client.get(f"/v1/adapters/{adapter['id']}/files"),
        client.get(adapter["files"][0]["url"]),
        put_alias(client, adapter["id"], "production"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (410, "artifact_expired")


def test_a_file_is_read_in_ranges(client: TestClient, job: dict[str, Any]) -> None:
    url = adapter_of(client, job)["files"][0]["url"]
    parts = urlsplit(client.get(url).headers["Location"])
    link = f"{parts.path}?{parts.query}"
    part = client.get(link, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, outputs.WEIGHTS[2:6])


@pytest.mark.parametrize("method", ["put", "post"])
def test_writing_needs_its_scope(client: TestClient, job: dict[str, Any], method: str) -> None:
    reader = make_team("readers", scopes=["jobs:read", "artifacts:read"])
    client.headers.update(reader.headers)
    path = {
        "put": f"/v1/adapters/{job['adapter']['id']}/aliases/a",
        "post": f"/v1/jobs/{job['id']}/checkpoints/ck_1/promote",
    }[method]
    answer = client.request(method, path, headers=new_key())
    assert (answer.status_code, answer.json()["scope"]) == (403, "adapters:write")
