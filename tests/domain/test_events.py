from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest

from domain import db, events
from domain.errors import NotFound
from tests import lives

pytestmark = pytest.mark.usefixtures("settings")


def test_numbers_have_no_gap_and_no_double_however_many_write_or_fail() -> None:
    job = lives.waiting()
    start = threading.Barrier(4, timeout=10)

    def write(writer: int) -> None:
        start.wait()
        for number in range(8):
            # Every third is rolled back.
            with db.read() if number % 3 == 0 else db.transaction() as session:
                events.append(session, job_id=job.id, type="job.warning", message=f"{writer}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    with db.read() as session:
        seqs = [event.seq for event in events.list_after(session, job_id=job.id)]
    assert seqs == list(range(1, 2 + 4 * 5 + 1))


def test_a_list_starts_after_a_number_and_can_be_narrowed_to_types() -> None:
    job = lives.succeeded()
    with db.read() as session:
        everything = events.list_after(session, job_id=job.id, limit=1000)
        some = events.list_after(session, job_id=job.id, after=everything[4].seq, limit=3)
        metrics = events.list_after(session, job_id=job.id, types=["job.metric"])
    assert [event.seq for event in some] == [6, 7, 8]
    assert len(metrics) == 20
    assert metrics[0].data["reward"] == pytest.approx(0.01)
    assert (everything[-1].type, everything[-1].step) == ("job.succeeded", 20)


def test_an_event_is_announced_when_and_only_when_it_is_committed(database_url: str) -> None:
    job = lives.waiting()
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {events.CHANNEL}")
        with db.read() as session:
            events.append(session, job_id=job.id, type="job.warning", message="never")
        assert list(listener.notifies(timeout=0.1)) == []
        with db.transaction() as session:
            events.append(session, job_id=job.id, type="job.warning", message="heard")
            events.append(session, job_id=job.id, type="job.warning", message="heard once")
        heard = list(listener.notifies(timeout=5, stop_after=2))
    assert [notification.payload for notification in heard] == [str(job.id), str(job.project_id)]


def test_levels_follow_the_type() -> None:
    job = lives.waiting()
    with db.transaction() as session:
        levels = [
            events.append(session, job_id=job.id, type=kind, message="").level
            for kind in ("job.metric", "job.budget_warning", "job.failed")
        ]
    assert levels == ["info", "warning", "error"]


def test_an_event_of_no_job_is_refused() -> None:
    with pytest.raises(NotFound), db.transaction() as session:
        events.append(session, job_id=uuid4(), type="job.warning", message="")
