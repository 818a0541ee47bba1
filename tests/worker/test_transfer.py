from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from domain.errors import ChecksumMismatch, Unavailable
from domain.store import ObjectStore
from vader_core.lines import File
from worker import transfer

KEY = "jobs/job_1/attempts/1/adapter/weights.safetensors"


def announced(path: Path, data: bytes) -> File:
    sha256 = hashlib.sha256(data).hexdigest()
    return File(path=path.name, size_bytes=len(data), sha256=sha256)


def test_a_file_is_stored_and_read_back(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    transfer.send_and_read_back(store, KEY, path, announced(path, b"weights"))
    with store.open(KEY) as stream:
        assert stream.read() == b"weights"


def test_a_file_with_other_bytes_than_announced_is_refused(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"something else")
    with pytest.raises(ChecksumMismatch):
        transfer.send(store, KEY, path, announced(path, b"weights"))
    assert store.stat(KEY) is None


def test_a_file_that_is_gone_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ChecksumMismatch, match="gone"):
        transfer.send(store, KEY, path, announced(path, b"weights"))


@pytest.mark.parametrize("path", ["../secrets", "/etc/passwd", "adapter/../../secrets"])
def test_a_path_that_leads_out_of_the_run_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ChecksumMismatch, match="leads out"):
        transfer.inside(tmp_path, path)


def test_a_link_that_leads_out_of_the_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter").symlink_to("/etc")
    with pytest.raises(ChecksumMismatch, match="leads out"):
        transfer.inside(tmp_path, "adapter/passwd")


def test_a_store_that_comes_back_is_waited_for() -> None:
    answers = iter([Unavailable("away"), "stored"])

    def store_it() -> str:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    assert transfer.while_away(store_it, give_up=lambda: False) == "stored"


def test_a_store_that_stays_away_is_given_up() -> None:
    def store_it() -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        transfer.while_away(store_it, give_up=lambda: True)
