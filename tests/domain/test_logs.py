from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar
from uuid import uuid4

import pytest

from domain import artifacts, db, log_text, logs
from domain.claims import Claim
from domain.errors import NotFound, StaleAttempt
from domain.store_folder import FolderStore
from domain.tables import Attempt
from tests import lives, trainer_lines

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def claim() -> Claim:
    return lives.training()


def append(claim: Claim, start: int, body: bytes) -> None:
    with db.transaction() as session:
        logs.append(session, job_id=claim.job_id, attempt=claim.attempt, start=start, body=body)


def kept(claim: Claim, offset: int = 0) -> list[tuple[int, bytes]]:
    with db.read() as session:
        found = logs.after(session, job_id=claim.job_id, attempt=claim.attempt, offset=offset)
    return [(piece.start, piece.body) for piece in found]


def test_pieces_come_back_in_order_and_once(claim: Claim) -> None:
    for start, body in ((0, b"one\n"), (4, b"two\n"), (4, b"two\n")):
        append(claim, start, body)
    assert kept(claim) == [(0, b"one\n"), (4, b"two\n")]
    assert kept(claim, offset=4) == [(4, b"two\n")]


def test_of_a_running_attempt_the_newest_mebibyte_is_kept(claim: Claim) -> None:
    size = logs.KEPT_BYTES // 4
    for number in range(7):
        append(claim, number * size, b"x" * size)
    assert [start for start, _ in kept(claim)] == [number * size for number in (3, 4, 5, 6)]


def test_a_stored_log_takes_the_place_of_its_pieces(claim: Claim) -> None:
    append(claim, 0, b"one\n")
    with db.transaction() as session:
        artifacts.add_log(
            session,
            job_id=claim.job_id,
            attempt=claim.attempt,
            key="logs/1",
            file=trainer_lines.file("log.txt", size_bytes=4),
        )
    assert kept(claim) == []
    with db.read() as session:
        row = logs.attempt_of(session, job_id=claim.job_id, number=None)
    assert row is not None
    assert row.log == {"key": "logs/1", "size_bytes": 4, "sha256": trainer_lines.SHA256}


def test_an_attempt_that_lost_its_lease_logs_nothing_more(claim: Claim) -> None:
    with db.transaction() as session, pytest.raises(StaleAttempt):
        logs.append(session, job_id=claim.job_id, attempt=claim.attempt + 1, start=0, body=b"x")
    assert kept(claim) == []


def test_pieces_of_a_removed_job_are_dropped(claim: Claim) -> None:
    append(claim, 0, b"one\n")
    with db.transaction() as session:
        logs.forget_job(session, job_id=claim.job_id)
    assert kept(claim) == []


def test_attempts_are_found_by_number_and_in_order(claim: Claim) -> None:
    with db.read() as session:
        newest = logs.attempt_of(session, job_id=claim.job_id, number=None)
        first = logs.next_attempt(session, job_id=claim.job_id, number=0)
        none = logs.next_attempt(session, job_id=claim.job_id, number=1)
        of_another = logs.attempt_of(session, job_id=uuid4(), number=None)
        with pytest.raises(NotFound):
            logs.attempt_of(session, job_id=claim.job_id, number=2)
    assert newest is first
    assert none is None
    assert of_another is None


class Counted(io.BytesIO):
    """A stream that notes how many bytes are read."""

    taken: ClassVar[int] = 0

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        Counted.taken += len(found)
        return found


class Counting(FolderStore):
    def open(self, key: str) -> BinaryIO:
        with super().open(key) as stream:
            return Counted(stream.read())


def test_a_stored_log_is_followed_without_reading_it_again(tmp_path: Path) -> None:
    store = Counting(tmp_path, public_url="http://vader.test", secret=b"secret")
    text = b"".join(b"line %d\n" % number for number in range(40_000))
    store.put_if_absent("logs/1", text, content_type="text/plain")
    attempt = Attempt(log={"key": "logs/1", "size_bytes": len(text), "sha256": ""})
    found = b""
    while more := log_text.stored_from(store, attempt, len(found)):
        assert more.endswith(b"\n")
        found += more
    assert found == text
    assert Counted.taken < 1.01 * len(text)


def halves(text: bytes) -> Iterator[bytes]:
    return log_text.blocks(io.BytesIO(text))


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\n", 5, b"a\n"),
        (b"", 5, b""),
        (b"\n\n\n", 1, b"\n"),
    ],
)
def test_the_last_lines_of_a_log(text: bytes, count: int, expected: bytes) -> None:
    assert log_text.last_lines(halves(text), count) == expected


def test_the_end_of_a_huge_log_is_found_without_keeping_it_all() -> None:
    line = b"y" * 999 + b"\n"
    parts = (line * 100 for _ in range(200))
    assert log_text.last_lines(parts, 3) == line * 3
