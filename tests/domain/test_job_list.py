from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from domain import db
from domain.errors import InvalidCursor
from domain.job_list import JobFilters, list_jobs
from domain.job_reading import Seen
from domain.pages import Page
from domain.tables import Job
from tests import factories, lives
from tests.reads import reading

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def make(project_id: UUID, **changes: Any) -> Job:
    with db.transaction() as session:
        return factories.job(session, project_id, **changes)


def listed(
    project_id: UUID,
    *,
    cursor: str | None = None,
    limit: int = 20,
    oldest_first: bool = False,
    **filters: Any,
) -> Page[Seen]:
    return reading(
        lambda reads: list_jobs(
            reads,
            project_id=project_id,
            filters=JobFilters(**filters),
            cursor=cursor,
            limit=limit,
            oldest_first=oldest_first,
        ),
        tenant=project_id,
    )


def ids(page: Page[Seen]) -> list[UUID]:
    return [seen.job.id for seen in page.items]


def test_pages_walk_all_jobs_newest_first_while_new_ones_come(project_id: UUID) -> None:
    made = [make(project_id).id for _ in range(5)]
    make_elsewhere = lives.waiting()
    first = listed(project_id, limit=2)
    make(project_id)
    second = listed(project_id, limit=2, cursor=first.next_cursor)
    third = listed(project_id, limit=2, cursor=second.next_cursor)
    assert ids(first) + ids(second) + ids(third) == made[::-1]
    assert third.next_cursor is None
    assert make_elsewhere.id not in made


def test_filters_narrow_the_list(project_id: UUID) -> None:
    plain = make(project_id, name="Plain 100%")
    labelled = make(project_id, labels={"team": "ads", "ticket": "1"})
    wan = make(project_id, base_model="tiny-wan", rewards=[{"reward": "tiny-text-match"}])
    lives.cancel(plain.id)
    cases: list[tuple[dict[str, Any], list[Job]]] = [
        ({}, [wan, labelled, plain]),
        ({"statuses": ["cancelled"]}, [plain]),
        ({"statuses": ["queued", "running"]}, [wan, labelled]),
        ({"statuses": ["queued", "queued", "paused"]}, [wan, labelled]),
        ({"statuses": ["queued"], "labels": {"team": "ads"}, "text": "tiny"}, []),
        ({"base_model": "tiny-wan"}, [wan]),
        ({"base_model": "tiny-unet@1"}, [labelled, plain]),
        ({"base_model": "tiny-unet@2"}, []),
        ({"reward": "tiny-text-match"}, [wan]),
        ({"reward": "tiny-action@1"}, [labelled, plain]),
        ({"labels": {"team": "ads"}}, [labelled]),
        ({"labels": {"team": "ads", "ticket": "2"}}, []),
        ({"created_after": labelled.created_at}, [wan]),
        ({"created_before": labelled.created_at}, [plain]),
        ({"created_by_key": uuid4()}, []),
        ({"text": "plain 100%"}, [plain]),
        ({"text": "%"}, [plain]),
    ]
    for filters, jobs in cases:
        assert ids(listed(project_id, **filters)) == [job.id for job in jobs], filters


def test_a_listed_job_does_not_carry_its_prompts(project_id: UUID) -> None:
    make(project_id)
    job = listed(project_id).items[0].job
    assert job.budget["max_steps"] == 20
    with pytest.raises(AttributeError):
        _ = job.spec


def test_a_cursor_of_another_list_is_refused(project_id: UUID) -> None:
    for _ in range(2):
        make(project_id)
    cursor = listed(project_id, limit=1).next_cursor
    with pytest.raises(InvalidCursor, match="other filters"):
        listed(project_id, cursor=cursor, statuses=["queued"])
    with pytest.raises(InvalidCursor):
        listed(uuid4(), cursor=cursor)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "é", "%%%", "AAAA", "=" * 5),
        encoded(None),
        encoded([1, 2, 3]),
        encoded(["2026-01-01", "no id", "x"]),
        encoded(["2026-01-01T00:00:00", str(UUID(int=0)), "x"]),
    ],
)
def test_what_is_no_cursor_is_refused(project_id: UUID, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        listed(project_id, cursor=cursor)


def test_jobs_made_in_the_same_moment_are_all_found(project_id: UUID) -> None:
    made = [make(project_id) for _ in range(4)]
    moment = made[0].created_at + timedelta(seconds=1)
    with db.transaction() as session:
        session.query(Job).update({Job.created_at: moment})
    found: list[UUID] = []
    cursor = None
    while not found or cursor is not None:
        page = listed(project_id, cursor=cursor, limit=1)
        found, cursor = found + ids(page), page.next_cursor
    assert sorted(found) == sorted(job.id for job in made)


def test_the_oldest_can_come_first(project_id: UUID) -> None:
    made = [make(project_id).id for _ in range(3)]
    first = listed(project_id, limit=2, oldest_first=True)
    rest = listed(project_id, limit=2, oldest_first=True, cursor=first.next_cursor)
    assert ids(first) + ids(rest) == made
    with pytest.raises(InvalidCursor):
        listed(project_id, cursor=first.next_cursor)


def test_jobs_are_found_by_template_and_by_the_job_they_were_made_from(project_id: UUID) -> None:
    parent, child, other = (make(project_id) for _ in range(3))
    with db.transaction() as session:
        row = session.get_one(Job, child.id)
        row.template, row.parent_job_id = "tpl_a@2", parent.id
        session.get_one(Job, other.id).template = "tpl_ab@2"
    assert ids(listed(project_id, parent=parent.id)) == [child.id]
    assert ids(listed(project_id, template="tpl_a")) == [child.id]
    assert ids(listed(project_id, template="tpl_a@2")) == [child.id]
    assert ids(listed(project_id, template="tpl_a@1")) == []
