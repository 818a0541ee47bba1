from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from client.download import fetch, safe_path
from client.errors import DownloadCorrupt, FileUnusable, Gone
from client.models import File
from tests.client.scripted_server import Reply, json_reply, problem_reply, serving, talking
from tests.client.shapes import JOB_ID, job_body

BODY = b"weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


def _file(url: str, *, sha256: str = SHA256, path: str = "adapter_model.safetensors") -> File:
    return File(path=path, size_bytes=len(BODY), sha256=sha256, url=url)


def test_a_file_whose_hash_differs_is_refused_and_not_kept(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as script, pytest.raises(DownloadCorrupt, match="Nothing was"):
        fetch(_file(f"{script.url}/x", sha256="0" * 64), to=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_is_tried_again(tmp_path: Path) -> None:
    with serving(Reply(200, BODY[:500], cut=True), Reply(200, BODY)) as script:
        fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_link_is_fetched_without_the_api_key(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as files:
        adapter = {"id": "ad_1"}
        page = {"data": [_file(f"{files.url}/signed").model_dump()], "has_more": False}
        with talking(json_reply(job_body(adapter=adapter)), json_reply(page)) as (vader, _):
            paths = vader.download_adapter(JOB_ID, to=tmp_path / "new")
    assert paths == [tmp_path / "new" / "adapter_model.safetensors"]
    assert paths[0].read_bytes() == BODY
    assert "Authorization" not in files.asked[0].headers


def test_a_relative_link_is_taken_from_the_service(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as script:
        fetch(_file("/v1/objects/x?sig=1"), to=tmp_path / "x", base_url=script.url)
    assert script.asked[0].path == "/v1/objects/x?sig=1"


def test_a_file_that_is_there_and_right_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BODY)
    with serving() as script:
        fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert script.asked == []


def test_an_expired_link_is_told(tmp_path: Path) -> None:
    with serving(problem_reply(410, "artifact_expired")) as script, pytest.raises(Gone):
        fetch(_file(f"{script.url}/x"), to=tmp_path / "x")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a\\..\\x"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str) -> None:
    with pytest.raises(FileUnusable, match="out of the folder"):
        safe_path(path)
