from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Row, event, func, select, text
from sqlalchemy.orm import Session

from domain import db, event_feed, events
from domain.errors import InvalidCursor
from domain.event_feed import START, Place
from domain.tables import Event
from tests import factories

pytestmark = pytest.mark.usefixtures("settings")


def project_with(jobs: int) -> tuple[UUID, list[UUID]]:
    with db.transaction() as session:
        project = factories.project(session)
        return project.id, [factories.job(session, project.id).id for _ in range(jobs)]


def tell(job_id: UUID, message: str, kind: str = "job.warning") -> None:
    with db.transaction() as session:
        events.append(session, job_id=job_id, type=kind, message=message)


def walk(
    project_id: UUID, place: Place = START, *, limit: int = 3, types: Sequence[str] = ()
) -> list[Row[Any]]:
    """Everything after `place`, a page at a time."""
    seen: list[Row[Any]] = []
    while True:
        with db.read() as session:
            page = event_feed.after(
                session, project_id=project_id, place=place, limit=limit, types=types
            ).events
        if not page:
            return seen
        seen += page
        place = Place.of(page[-1])


def numbers(found: Sequence[Row[Any]]) -> list[tuple[UUID, int]]:
    return [(row.job_id, row.seq) for row in found]


def test_an_event_that_commits_late_is_not_skipped() -> None:
    project_id, (early, late) = project_with(2)
    place = Place.of(walk(project_id)[-1])
    with db.transaction() as slow:
        # Begins to write first, commits last.
        events.append(slow, job_id=late, type="job.warning", message="committed late")
        slow.flush()
        tell(early, "committed early")
        with db.read() as session:
            between = event_feed.after(session, project_id=project_id, place=place, limit=10)
        assert between.events == []
        assert between.held_back
    assert [row.message for row in walk(project_id, place)] == [
        "committed late",
        "committed early",
    ]


def test_a_reader_never_misses_what_overlapping_writers_write() -> None:
    project_id, jobs = project_with(3)
    done = threading.Event()
    seen: list[Row[Any]] = []

    def read() -> None:
        place = START
        while True:
            last_round = done.is_set()
            found = walk(project_id, place)
            seen.extend(found)
            place = Place.of(found[-1]) if found else place
            if last_round and not found:
                return

    def write(job_id: UUID) -> None:
        for number in range(15):
            with db.transaction() as session:
                # Numbered before it waits for the job's row, so that numbers and commits cross.
                session.execute(select(func.pg_current_xact_id()))
                session.execute(select(func.pg_sleep(0.001 * (number % 4))))
                events.append(session, job_id=job_id, type="job.warning", message="")

    with ThreadPoolExecutor(8) as pool:
        reader = pool.submit(read)
        list(pool.map(write, [*jobs, *jobs]))
        done.set()
        reader.result()
    with db.read() as session:
        everything = {tuple(row) for row in session.execute(select(Event.job_id, Event.seq))}
    assert len(seen) == len(everything) == 3 * (2 + 2 * 15)
    assert set(numbers(seen)) == everything
    for job_id in jobs:
        own = [row.seq for row in seen if row.job_id == job_id]
        assert own == sorted(own)


def test_within_a_job_the_order_is_that_of_its_numbers() -> None:
    project_id, (job_id,) = project_with(1)
    with db.transaction() as older:
        older.execute(select(func.pg_current_xact_id()))
        tell(job_id, "first, by a younger transaction")
        events.append(older, job_id=job_id, type="job.warning", message="second, by an older one")
    assert [row.seq for row in walk(project_id)] == [1, 2, 3, 4]


def test_a_feed_is_narrowed_to_types_and_to_a_job() -> None:
    project_id, (first, second) = project_with(2)
    tell(first, "", "job.metric")
    tell(second, "", "job.failed")
    tell(first, "", "job.warning")
    found = walk(project_id, types=["job.failed", "job.metric", "job.created"], limit=2)
    assert [row.type for row in found] == [
        *("job.created", "job.created", "job.metric", "job.failed"),
    ]
    with db.read() as session:
        own = event_feed.after(
            session, project_id=project_id, place=START, limit=10, job_id=first
        ).events
    assert [row.type for row in own] == [
        *("job.created", "job.queued", "job.metric", "job.warning"),
    ]


def test_a_feed_has_the_events_of_its_project_alone_and_can_start_at_its_end() -> None:
    project_id, (job_id,) = project_with(1)
    project_with(1)
    assert {row.job_id for row in walk(project_id)} == {job_id}
    with db.read() as session:
        end = event_feed.latest(session)
    assert walk(project_id, end) == []
    tell(job_id, "new")
    assert [row.message for row in walk(project_id, end)] == ["new"]


def test_a_place_survives_as_a_cursor_and_nothing_else_passes_for_one() -> None:
    place = Place(2**40, uuid4(), 7)
    assert Place.from_cursor(place.cursor) == place
    assert Place.from_cursor(START.cursor) == START
    for wrong in ("", "12", "é", "A" * 44, "/" * 43, "_" * 43, place.cursor[:-1]):
        with pytest.raises(InvalidCursor):
            Place.from_cursor(wrong)


def test_pages_come_from_indexes_however_many_events_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project_id, (job_id,) = project_with(1)
    other_id, (other_job,) = project_with(1)
    with db.transaction() as session:
        for owner, job in ((project_id, job_id), (other_id, other_job)):
            session.execute(
                text(
                    "INSERT INTO events (job_id, seq, id, project_id, xact, type, level, message, data,"
                    " attempt, step) SELECT :job, n, gen_random_uuid(), :project, n / 100,"
                    " CASE n % 500 WHEN 0 THEN 'job.failed' ELSE 'job.metric' END, 'info', '', '{}', 1, 1"
                    " FROM generate_series(10, 20000) n"
                ),
                {"job": job, "project": owner},
            )
        session.execute(text("UPDATE jobs SET last_seq = 20000"))
        session.execute(text("ANALYZE events"))
    for types, tenant in product(
        ([], ["job.failed"], ["job.failed", "job.paused"]), (None, project_id)
    ):
        # Under row-level security too, as the API reads.
        monkeypatch.setattr(db, "tenant", ContextVar("tenant", default=tenant))
        with db.read() as session, explained(session) as plans:
            found = event_feed.after(
                session, project_id=project_id, place=Place(50, job_id, 0), limit=20, types=types
            )
        assert len(found.events) == 20
        [plan] = plans
        assert "Seq Scan" not in plan
        assert "Rows Removed by Filter" not in plan


@contextmanager
def explained(session: Session) -> Iterator[list[str]]:
    """The plans of the session's statements in the block."""
    plans: list[str] = []

    def explain(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        with connection.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE) {statement}", parameters)
            plans.append("\n".join(row[0] for row in cursor.fetchall()))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", explain)
    yield plans
    event.remove(connection, "before_cursor_execute", explain)
