"""Adapter files, videos and sheets: by signed links that need no key."""

from __future__ import annotations

import hashlib
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from domain import db
from domain.settings import Settings
from domain.store import ObjectStore, open_store
from domain.tables import Adapter
from tests.api import outputs
from tests.api.teams import Team, post_job


def local(url: str) -> str:
    """What `url` asks of this server, without the public address."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.fixture
def job(client: TestClient, store: ObjectStore) -> dict[str, dict[str, str]]:
    """A job that ended well."""
    path = post_job(client)["links"]["self"]
    outputs.succeed(store)
    body: dict[str, dict[str, str]] = client.get(path).json()
    return body


def test_adapter_files_are_listed_with_links_that_need_no_key(
    client: TestClient, job: dict[str, dict[str, str]]
) -> None:
    adapter = client.get(job["adapter"]["url"]).json()
    assert adapter["job_id"] == job["id"]
    files = client.get(job["adapter"]["files_url"]).json()["data"]
    assert [file["path"] for file in files] == [file["path"] for file in adapter["files"]]
    del client.headers["Authorization"]
    for file in files:
        answer = client.get(local(file["url"]))
        assert answer.content == outputs.WEIGHTS
        name = file["path"].rpartition("/")[2]
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_a_file_path_redirects_to_a_fresh_link(
    client: TestClient, job: dict[str, dict[str, str]]
) -> None:
    adapter = client.get(job["adapter"]["url"]).json()
    for url in (
        adapter["files"][0]["url"],
        job["sheet"]["url"],
        client.get(job["links"]["samples"]).json()["data"][0]["video_url"],
    ):
        answer = client.get(url)
        assert answer.status_code == 302
        assert answer.headers["Cache-Control"] == "no-store"
        assert client.get(local(answer.headers["Location"])).status_code == 200
    assert client.get(f"{job['adapter']['url']}/files/nothing.bin").status_code == 404


def test_a_video_can_be_read_in_ranges(client: TestClient, job: dict[str, dict[str, str]]) -> None:
    sample = client.get(job["links"]["samples"]).json()["data"][0]
    link = local(sample["url"])
    part = client.get(link, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert part.headers["Content-Range"] == f"bytes 4-7/{len(outputs.VIDEO)}"
    assert part.headers["Content-Type"] == "video/mp4"
    outside = client.get(link, headers={"Range": "bytes=999999-"})
    assert (outside.status_code, outside.json()["code"]) == (416, "range_not_satisfiable")
    assert outside.headers["Content-Range"] == f"bytes */{len(outputs.VIDEO)}"
    malformed = client.get(link, headers={"Range": "bytes=x-y"})
    assert (malformed.status_code, malformed.json()["code"]) == (400, "bad_request")
    assert (
        hashlib.sha256(client.get(link).content).digest() == hashlib.sha256(outputs.VIDEO).digest()
    )


def test_a_changed_or_old_link_opens_nothing(
    client: TestClient, job: dict[str, dict[str, str]], store: ObjectStore
) -> None:
    file = client.get(job["adapter"]["files_url"]).json()["data"][0]
    parts = urlsplit(file["url"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    for name, value in (
        ("exp", str(int(query["exp"]) + 1)),
        ("sig", "0" * 64),
        ("filename", "other.exe"),
    ):
        changed = f"{parts.path}?{urlencode({**query, name: value})}"
        assert client.get(changed).status_code == 404
    for path in ("/v1/objects/../../etc/passwd", "/v1/objects/%2e%2e/%2e%2e/etc/passwd"):
        assert client.get(f"{path}?{parts.query}").status_code == 404
    assert client.get(parts.path).status_code == 422
    with db.read() as session:
        row = session.query(Adapter).one()
    key = f"{row.prefix}/{row.files[0]['path']}"
    short = local(store.link(key, filename="a.bin", ttl_s=1))
    assert client.get(short).status_code == 200
    time.sleep(2.1)
    old = client.get(short)
    assert (old.status_code, old.json()["code"]) == (410, "artifact_expired")


def test_a_file_that_is_gone_is_told_so(
    client: TestClient, job: dict[str, dict[str, str]], store: ObjectStore
) -> None:
    file = client.get(job["adapter"]["files_url"]).json()["data"][0]
    for key in list(store.list("")):
        store.delete(key)
    answer = client.get(local(file["url"]))
    assert (answer.status_code, answer.json()["code"]) == (410, "artifact_expired")


def test_an_s3_store_signs_links_to_itself(
    settings: Settings, team: Team, s3_server: str, s3_bucket: str
) -> None:
    there = settings.model_copy(
        update={"object_store": f"s3://{s3_bucket}/pre", "s3_endpoint_url": s3_server}
    )
    with TestClient(create_app(there), follow_redirects=False) as client:
        client.headers.update(team.headers)
        path = post_job(client)["links"]["self"]
        outputs.succeed(open_store(there))
        answer = client.get(client.get(path).json()["sheet"]["url"])
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/objects/a?exp=1&sig=2&filename=b").status_code == 404
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith(s3_server)
    assert httpx.get(answer.headers["Location"]).content == b"a sheet"
