from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text

from domain import db, projects
from domain.errors import Conflict, NotFound, Unavailable
from domain.tables import Project
from tests import lives

pytestmark = pytest.mark.usefixtures("settings")


def names() -> list[str]:
    with db.read() as session:
        return list(session.scalars(select(Project.name)))


def test_a_transaction_commits_when_its_block_ends() -> None:
    with db.transaction() as session:
        project = projects.create(session, name="kept")
    assert names() == ["kept"]
    assert project.name == "kept"


def make_twice(rung: list[str]) -> None:
    with db.transaction() as session:
        projects.create(session, name="lost")
        db.after_commit(session, lambda: rung.append("lost"))
        projects.create(session, name="lost")


def test_a_transaction_that_fails_leaves_nothing_and_rings_no_bell() -> None:
    rung: list[str] = []
    with pytest.raises(Conflict):
        make_twice(rung)
    assert (names(), rung) == ([], [])


def test_what_waits_for_the_commit_comes_after_it_in_order() -> None:
    seen: list[object] = []
    with db.transaction() as session:
        projects.create(session, name="kept")
        db.after_commit(session, lambda: seen.append(names()))
        db.after_commit(session, lambda: seen.append("second"))
        assert seen == []
    assert seen == [["kept"], "second"]


def test_reading_keeps_nothing() -> None:
    with db.read() as session:
        projects.create(session, name="lost")
    assert names() == []


def test_an_absent_database_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    db.ping()
    away = "postgresql://nobody@127.0.0.1:9/nothing"
    with lives.changed_settings(monkeypatch, database_url=away), pytest.raises(Unavailable):
        db.ping()


def lose_connection() -> None:
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with db.transaction() as session:
        session.execute(text("SELECT 1"))
        with db.transaction() as other:
            other.execute(kill)
        session.execute(text("SELECT 1"))


def test_a_lost_connection_is_unavailable_once() -> None:
    with pytest.raises(Unavailable):
        lose_connection()
    db.ping()


def test_an_exclusive_lock_is_held_by_one_and_given_back() -> None:
    held: list[bool] = []

    def try_it() -> None:
        with db.exclusive(1) as alone:
            held.append(alone)

    with db.exclusive(1) as alone:
        assert alone
        other = threading.Thread(target=try_it)
        other.start()
        other.join()
    try_it()
    assert held == [False, True]


def test_the_databases_time_is_utc() -> None:
    with db.read() as session:
        assert session.scalar(text("SHOW timezone")) == "UTC"


def test_a_project_is_found_by_name_and_by_id() -> None:
    with db.transaction() as session:
        project = projects.create(session, name="ads")
        assert projects.by_name(session, "ads").id == project.id
        assert projects.get(session, project.id).name == "ads"
        with pytest.raises(NotFound):
            projects.by_name(session, "others")
