from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from domain import db, templates
from domain.callers import Origin
from domain.errors import Conflict, NotFound
from domain.templates import Content, Found
from tests import factories

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def make(project_id: UUID, name: str = "shapes") -> Found:
    origin = Origin(project_id=project_id, trace_id="")
    with db.transaction() as session:
        return templates.create(session, origin=origin, content=Content(name, "", {"seed": 0}))


def test_changes_at_the_same_time_are_all_kept_one_version_each(project_id: UUID) -> None:
    made, start = make(project_id), threading.Barrier(4, timeout=10)

    def change(number: int) -> int:
        start.wait()
        with db.transaction() as session:
            held = templates.held(session, project_id=project_id, template_id=made.template.id)
            spec = {**held.version.spec, f"change {number}": number}
            content = Content("shapes", "", spec)
            origin = Origin(project_id=project_id, trace_id="")
            found = templates.change(session, held, origin=origin, content=content)
            return found.version.version

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(change, range(4))) == [2, 3, 4, 5]
    with db.read() as session:
        newest = templates.get(session, project_id=project_id, template_id=made.template.id)
    assert set(newest.version.spec) == {"seed", *(f"change {number}" for number in range(4))}


def test_of_two_that_want_a_name_one_gets_it(project_id: UUID) -> None:
    start = threading.Barrier(2, timeout=10)

    def take(_: int) -> str:
        start.wait()
        try:
            return make(project_id).template.name
        except Conflict as refused:
            return refused.code

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(take, range(2))) == ["conflict", "shapes"]


@pytest.mark.parametrize("reference", ["", "tpl_", "tpl_x", "@2", "job_00000000000000000000000000"])
def test_what_is_no_reference_is_not_found(project_id: UUID, reference: str) -> None:
    with db.read() as session, pytest.raises(NotFound):
        templates.named(session, project_id=project_id, reference=reference)


@pytest.mark.parametrize("version", ["", "0", "2", "v1", "\u0661", "1@1", "99999999999"])
def test_a_version_that_is_not_there_is_not_found(project_id: UUID, version: str) -> None:
    public_id = make(project_id).reference.partition("@")[0]
    with db.read() as session:
        assert templates.named(session, project_id=project_id, reference=f"{public_id}@1")
        with pytest.raises(NotFound):
            templates.named(session, project_id=project_id, reference=f"{public_id}@{version}")
