"""One contract for every object store, and what is particular to each."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from domain.errors import ArtifactExpired, ChecksumMismatch, NotFound, Unavailable
from domain.objects import Stat
from domain.settings import Settings
from domain.store import ObjectStore, open_store, read_sha256
from domain.store_folder import FolderStore
from domain.store_s3 import S3Store

DATA = b"some bytes " * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = "jobs/job_1/attempts/1/adapter/adapter_model.safetensors"
TYPE = "application/octet-stream"


def folder_store(folder: Path) -> FolderStore:
    return FolderStore(folder, public_url="http://vader.test/", secret=b"secret")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "folder":
        yield folder_store(tmp_path / "objects")
        return
    made = S3Store(
        request.getfixturevalue("s3_bucket"),
        prefix="some/where/",
        region="us-east-1",
        endpoint_url=request.getfixturevalue("s3_server"),
        public_endpoint_url=None,
    )
    yield made


def put(store: ObjectStore, key: str, data: bytes, *, content_type: str = TYPE) -> None:
    assert store.put_if_absent(key, data, content_type=content_type)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def test_a_stored_file_comes_back_byte_for_byte(
    store: ObjectStore, source: Path, tmp_path: Path
) -> None:
    store.put_file(KEY, source, sha256=SHA256, content_type=TYPE)
    assert store.stat(KEY) == Stat(len(DATA), SHA256)
    assert read_sha256(store, KEY) == SHA256
    with store.open(KEY) as stream:
        assert stream.read() == DATA
    store.download(KEY, tmp_path / "new" / "copy", sha256=SHA256)
    assert (tmp_path / "new" / "copy").read_bytes() == DATA
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["copy"]


def test_a_link_to_s3_names_files_in_any_script(s3_settings: Settings) -> None:
    """A header beyond Latin-1 is refused by S3."""
    link = open_store(s3_settings).link(KEY, filename="видео 1.mp4", ttl_s=60)
    [told] = parse_qs(urlsplit(link).query)["response-content-disposition"]
    assert told.startswith('attachment; filename="_____ 1.mp4"; ')
    assert told.isascii()
    assert unquote(told.partition("filename*=UTF-8''")[2]) == "видео 1.mp4"


def test_a_part_of_an_object_is_read(store: ObjectStore) -> None:
    put(store, KEY, b"0123456789")
    assert store.read(KEY, start=0, size=3) == b"012"
    assert store.read(KEY, start=8, size=3) == b"89"
    assert store.read(KEY, start=10, size=3) == b""
    assert store.read(KEY, start=99, size=3) == b""
    with pytest.raises(ArtifactExpired):
        store.read("none", start=0, size=3)


def test_a_file_whose_bytes_are_others_is_refused(
    store: ObjectStore, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ChecksumMismatch):
        store.put_file(KEY, source, sha256="0" * 64, content_type=TYPE)
    assert store.stat(KEY) is None
    put(store, KEY, DATA)
    with pytest.raises(ChecksumMismatch):
        store.download(KEY, tmp_path / "copy", sha256="0" * 64)
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == []


def test_what_is_not_there_is_told_so(store: ObjectStore, tmp_path: Path) -> None:
    assert store.stat(KEY) is None
    with pytest.raises(ArtifactExpired):
        store.open(KEY)
    with pytest.raises(ArtifactExpired):
        store.download(KEY, tmp_path / "copy")
    store.delete(KEY)


def test_a_second_put_replaces_the_first(store: ObjectStore, source: Path) -> None:
    put(store, KEY, b"old")
    store.put_file(KEY, source, sha256=SHA256, content_type=TYPE)
    assert store.stat(KEY) == Stat(len(DATA), SHA256)


def test_of_many_first_puts_one_succeeds_and_its_bytes_stay(store: ObjectStore) -> None:
    start = threading.Barrier(4, timeout=10)

    def put(number: int) -> bool:
        start.wait()
        return store.put_if_absent(KEY, f"writer {number}".encode(), content_type=TYPE)

    with ThreadPoolExecutor(4) as threads:
        won = list(threads.map(put, range(4)))
    assert won.count(True) == 1
    with store.open(KEY) as stream:
        assert stream.read() == f"writer {won.index(True)}".encode()


def test_a_list_has_the_keys_below_a_prefix_and_nothing_else(store: ObjectStore) -> None:
    for key in ("jobs/1/b", "jobs/1/a/c", "jobs/10/a", "other"):
        put(store, key, b"x")
    assert list(store.list("jobs/1/")) == ["jobs/1/a/c", "jobs/1/b"]
    assert list(store.list("jobs/1")) == ["jobs/1/a/c", "jobs/1/b", "jobs/10/a"]
    assert list(store.list("nothing/")) == []
    store.delete("jobs/1/b")
    assert list(store.list("jobs/1/")) == ["jobs/1/a/c"]


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "a/../b", "a//b", "a/", "..", ".hidden", "a\\b", "a\0b", "a b", "ä"]
)
def test_a_key_that_could_lead_astray_is_refused(store: ObjectStore, key: str) -> None:
    for use in (store.stat, store.open, store.delete):
        with pytest.raises(ValueError, match="not an object key"):
            use(key)
    with pytest.raises(ValueError, match="not an object key"):
        put(store, key, b"")
    with pytest.raises(ValueError, match="not an object key"):
        store.link(key, filename="x", ttl_s=1)


def test_a_store_that_is_there_passes_its_check(store: ObjectStore) -> None:
    store.prepare()
    store.prepare()
    store.check()


def test_a_signed_link_of_a_folder_leads_to_the_file(tmp_path: Path) -> None:
    store = folder_store(tmp_path)
    put(store, KEY, DATA)
    url = urlsplit(store.link(KEY, filename='ad "é".bin', ttl_s=60))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.netloc, url.path) == ("vader.test", f"/v1/objects/{KEY}")
    assert query["filename"] == 'ad "é".bin'
    exp, sig = int(query["exp"]), query["sig"]
    place = store.check_link(KEY, exp=exp, sig=sig, filename=query["filename"])
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("changed", ["key", "exp", "sig", "filename"])
def test_a_changed_link_leads_nowhere(tmp_path: Path, changed: str) -> None:
    store = folder_store(tmp_path)
    put(store, KEY, DATA)
    query = parse_qs(urlsplit(store.link(KEY, filename="a", ttl_s=60)).query)
    parts = {"key": KEY, "exp": query["exp"][0], "sig": query["sig"][0], "filename": "a"}
    parts[changed] = {"key": KEY + "2", "exp": str(2**40)}.get(changed, "éé")
    with pytest.raises(NotFound):
        store.check_link(
            parts["key"], exp=int(parts["exp"]), sig=parts["sig"], filename=parts["filename"]
        )


def test_a_link_that_is_too_old_or_whose_file_is_gone_has_expired(tmp_path: Path) -> None:
    store = folder_store(tmp_path)
    for ttl_s in (-1, 60):
        query = parse_qs(urlsplit(store.link(KEY, filename="a", ttl_s=ttl_s)).query)
        with pytest.raises(ArtifactExpired):
            store.check_link(KEY, exp=int(query["exp"][0]), sig=query["sig"][0], filename="a")


def test_a_failed_put_leaves_nothing_half_written(tmp_path: Path, source: Path) -> None:
    store = folder_store(tmp_path / "objects")
    with pytest.raises(ChecksumMismatch):
        store.put_file(KEY, source, sha256="0" * 64, content_type=TYPE)
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    store = folder_store(tmp_path)
    store.prepare()
    old, young = tmp_path / "staged" / "old", tmp_path / "staged" / "young"
    old.touch()
    young.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    store.prepare()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        folder_store(tmp_path / "file" / "objects").check()


@pytest.fixture
def s3_settings(settings: Settings, s3_server: str, s3_bucket: str) -> Settings:
    changes = {"object_store": f"s3://{s3_bucket}/some/where", "s3_endpoint_url": s3_server}
    return settings.model_copy(update=changes)


def test_a_presigned_link_downloads_the_object_under_its_name(s3_settings: Settings) -> None:
    store = open_store(s3_settings)
    assert isinstance(store, S3Store)
    put(store, KEY, DATA, content_type="video/mp4")
    with urllib.request.urlopen(store.link(KEY, filename='a"b.mp4', ttl_s=60)) as answer:
        assert answer.read() == DATA
        told = answer.headers["Content-Disposition"]
        assert told == "attachment; filename=\"a_b.mp4\"; filename*=UTF-8''a%22b.mp4"
        assert answer.headers["Content-Type"] == "video/mp4"


def test_links_use_the_name_by_which_clients_reach_the_server(s3_settings: Settings) -> None:
    public = s3_settings.model_copy(
        update={"s3_public_endpoint_url": "https://objects.example.test"}
    )
    store = open_store(public)
    assert isinstance(store, S3Store)
    assert store.link(KEY, filename="a", ttl_s=60).startswith("https://objects.example.test/")


def test_a_missing_bucket_is_made(s3_settings: Settings) -> None:
    fresh = s3_settings.model_copy(update={"object_store": "s3://fresh-bucket"})
    store = open_store(fresh)
    assert isinstance(store, S3Store)
    with pytest.raises(Unavailable):
        store.check()
    store.prepare()
    store.check()


def test_an_s3_server_that_is_away_is_unavailable(s3_settings: Settings, source: Path) -> None:
    away = s3_settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"})
    store = open_store(away)
    assert isinstance(store, S3Store)
    with pytest.raises(Unavailable):
        store.put_file(KEY, source, sha256=SHA256, content_type=TYPE)
    with pytest.raises(Unavailable):
        store.stat(KEY)
