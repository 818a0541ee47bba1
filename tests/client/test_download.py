from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from client import VaderClient
from client.errors import DownloadCorrupt, FileUnusable, Gone, RequestRefused
from client.models import File
from client.part_file import safe_path
from tests.client.scripted_server import Reply, json_reply, problem_reply, serving, talking
from tests.client.shapes import JOB_ID, job_body

BODY = b"weights" * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
CUT = Reply(200, BODY[:500], cut=True)


def _file(url: str, *, sha256: str = SHA256, path: str = "adapter_model.safetensors") -> File:
    return File(path=path, size_bytes=len(BODY), sha256=sha256, url=url)


def _fetch(file: File, *, to: Path, url: str = "http://127.0.0.1:1") -> Path:
    with VaderClient(url, "key") as vader:
        return vader.download(file, to=to)


def _rest(start: int) -> Reply:
    return Reply(206, BODY[start:], {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"})


def test_a_file_whose_hash_differs_is_refused_and_not_kept(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as script, pytest.raises(DownloadCorrupt, match="Nothing was"):
        _fetch(_file(f"{script.url}/x", sha256="0" * 64), to=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_goes_on_where_it_was(tmp_path: Path) -> None:
    with serving(CUT, _rest(500)) as script:
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert [asked.headers.get("Range") for asked in script.asked] == [None, "bytes=500-"]
    assert (tmp_path / "x").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_store_without_ranges_is_read_from_the_beginning_again(tmp_path: Path) -> None:
    with serving(CUT, Reply(200, BODY)) as script:
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_later_download_goes_on_with_what_an_earlier_one_left(tmp_path: Path) -> None:
    with serving(CUT) as script, pytest.raises(RequestRefused, match="599"):
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert not (tmp_path / "x").exists()
    with serving(_rest(500)) as script:
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert script.asked[0].headers["Range"] == "bytes=500-"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_was_left_of_another_version_is_not_gone_on_with(tmp_path: Path) -> None:
    other = BODY[::-1]
    with serving(CUT) as script, pytest.raises(RequestRefused, match="599"):
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    with serving(Reply(200, other)) as script:
        _fetch(
            _file(f"{script.url}/x", sha256=hashlib.sha256(other).hexdigest()), to=tmp_path / "x"
        )
    assert "Range" not in script.asked[0].headers
    assert (tmp_path / "x").read_bytes() == other


def test_a_link_is_fetched_without_the_api_key(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as files:
        adapter = {"id": "ad_1"}
        page = {"data": [_file(f"{files.url}/signed").model_dump()], "has_more": False}
        with talking(json_reply(job_body(adapter=adapter)), json_reply(page)) as (vader, _):
            paths = vader.download_adapter(JOB_ID, to=tmp_path / "new")
    assert paths == [tmp_path / "new" / "adapter_model.safetensors"]
    assert paths[0].read_bytes() == BODY
    assert "Authorization" not in files.asked[0].headers


def test_a_link_that_expires_meanwhile_is_renewed(tmp_path: Path) -> None:
    with serving(CUT, problem_reply(410, "artifact_expired"), _rest(500)) as files:
        page = {"data": [_file(f"{files.url}/old", path="a/b.bin").model_dump()]}
        new = Reply(302, headers={"Location": f"{files.url}/new"})
        with talking(json_reply(page), new) as (vader, script):
            vader.download_adapter("ad_1", to=tmp_path)
    assert [asked.path for asked in files.asked] == ["/old", "/old", "/new"]
    assert script.asked[1].path == "/v1/adapters/ad_1/files/a/b.bin"
    assert (tmp_path / "a" / "b.bin").read_bytes() == BODY


def test_a_relative_link_is_taken_from_the_service(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as script:
        _fetch(_file("/v1/objects/x?sig=1"), to=tmp_path / "x", url=script.url)
    assert script.asked[0].path == "/v1/objects/x?sig=1"


def test_a_file_that_is_there_and_right_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BODY)
    with serving() as script:
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")
    assert script.asked == []


def test_only_what_is_asked_for_is_downloaded(tmp_path: Path) -> None:
    with serving(Reply(200, BODY)) as files:
        both = [_file(f"{files.url}/{name}", path=f"{name}/w") for name in ("peft", "comfyui")]
        page = {"data": [file.model_dump() for file in both]}
        with talking(json_reply(page)) as (vader, _):
            paths = vader.download_adapter("ad_1", to=tmp_path, only=["comfyui/"])
    assert paths == [tmp_path / "comfyui" / "w"]


def test_an_expired_link_is_told(tmp_path: Path) -> None:
    with serving(problem_reply(410, "artifact_expired")) as script, pytest.raises(Gone):
        _fetch(_file(f"{script.url}/x"), to=tmp_path / "x")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a\\..\\x"])
def test_a_path_that_leads_out_of_the_folder_is_refused(path: str) -> None:
    with pytest.raises(FileUnusable, match="out of the folder"):
        safe_path(path)
