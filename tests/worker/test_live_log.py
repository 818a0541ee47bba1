"""What a trainer logs reaches the job's record while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain import db, logs
from domain.claims import Claim
from domain.settings import Settings
from tests import lives
from tests.worker.waiting import wait_until
from worker.lease import Lease
from worker.live_log import PIECE_BYTES, LiveLog

LOOK_S = 0.02
WITHIN_S = 20.0


@pytest.fixture
def claim(settings: Settings) -> Claim:
    return lives.training()


@pytest.fixture
def lease(claim: Claim, settings: Settings) -> Iterator[Lease]:
    with Lease(
        claim.job_id, claim.attempt, settings=settings, held_since=time.monotonic()
    ) as lease:
        yield lease


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.touch()
    return path


def add(path: Path, body: bytes) -> None:
    with path.open("ab") as file:
        file.write(body)


def pieces(claim: Claim) -> list[bytes]:
    with db.read() as session:
        found = logs.after(session, job_id=claim.job_id, attempt=claim.attempt, offset=0)
    return [piece.body for piece in found]


def test_whole_lines_are_there_while_it_runs_and_the_rest_at_the_end(
    claim: Claim, lease: Lease, path: Path
) -> None:
    with LiveLog(lease, path, look_s=LOOK_S):
        add(path, b"one\ntw")
        wait_until(lambda: pieces(claim) == [b"one\n"], within_s=WITHIN_S)
        add(path, b"o\nthree")
        wait_until(lambda: b"".join(pieces(claim)) == b"one\ntwo\n", within_s=WITHIN_S)
    assert b"".join(pieces(claim)) == b"one\ntwo\nthree"


def test_a_long_line_is_cut_between_characters(claim: Claim, lease: Lease, path: Path) -> None:
    text = "ä€😀" * PIECE_BYTES
    with LiveLog(lease, path, look_s=LOOK_S):
        add(path, text.encode())
    found = pieces(claim)
    assert len(found) > 3
    assert all(0 < len(piece) <= PIECE_BYTES for piece in found)
    assert (
        "".join(piece.decode() for piece in found)
        == text[-sum(map(len, (p.decode() for p in found))) :]
    )


def test_a_lost_lease_ends_it_quietly(claim: Claim, settings: Settings, path: Path) -> None:
    stale = Lease(claim.job_id, claim.attempt + 1, settings=settings, held_since=time.monotonic())
    with LiveLog(stale, path, look_s=LOOK_S):
        add(path, b"too late\n")
        wait_until(lambda: stale.lost, within_s=WITHIN_S)
    assert pieces(claim) == []
