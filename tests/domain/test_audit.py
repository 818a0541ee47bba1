"""The audit log: who, what, from where; only ever added to; read in pages with filters."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from domain import api_keys, audit, audit_log, db, members, projects
from domain.access_tables import AuditEntry
from domain.audit_log import Filters
from domain.callers import Origin
from domain.errors import NotFound
from domain.ids import new_id, to_public
from tests import factories

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def entries(project_id: UUID, **filters: object) -> list[AuditEntry]:
    with db.read() as session:
        found = audit_log.list_entries(
            session,
            project_id=project_id,
            filters=Filters(**filters),  # type: ignore[arg-type]
            cursor=None,
            limit=100,
        )
    return found.items


def test_an_entry_says_who_did_what_in_which_request(project_id: UUID) -> None:
    context = audit.current_request.set(audit.Request("req_1", "192.0.2.7"))
    with db.transaction() as session:
        key, _ = api_keys.create(session, project_id=project_id, name="ci")
        session.flush()
        who = Origin(project_id, "trace", key_id=key.id)
        audit.record(session, who, action="job.cancel", target="job_1", details={"keep": True})
    audit.current_request.reset(context)
    [entry] = entries(project_id)
    assert (entry.action, entry.target, entry.details) == ("job.cancel", "job_1", {"keep": True})
    assert (entry.request_id, entry.address) == ("req_1", "192.0.2.7")
    with db.read() as session:
        assert audit_log.actors(session, [entry]) == {
            entry.id: {"type": "api_key", "id": to_public("key", key.id), "name": "ci"}
        }


def test_members_and_operators_are_actors_too(project_id: UUID) -> None:
    with db.transaction() as session:
        member, _ = members.invite(
            session, project_id=project_id, email="a@example.com", name="Ada", role="viewer"
        )
        audit.record(session, Origin(project_id, "t", member_id=member.id), action="job.pause")
        audit.record(session, audit.Operator(project_id), action="quota.set")
    operator, person = entries(project_id)
    with db.read() as session:
        named = audit_log.actors(session, [operator, person])
    assert named[person.id]["name"] == "Ada"
    assert named[operator.id] == {"type": "operator", "id": None, "name": None}
    assert operator.address is None


def set_quota_and_fail(project_id: UUID) -> None:
    with db.transaction() as session:
        audit.record(session, audit.Operator(project_id), action="quota.set")
        projects.by_name(session, "nobody's")


def test_what_is_undone_leaves_no_entry(project_id: UUID) -> None:
    with pytest.raises(NotFound):
        set_quota_and_fail(project_id)
    assert entries(project_id) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET action = 'nothing'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
    ],
)
def test_entries_are_neither_changed_nor_removed(project_id: UUID, statement: str) -> None:
    with db.transaction() as session:
        audit.record(session, audit.Operator(project_id), action="quota.set")
    with pytest.raises(IntegrityError, match="only ever added"), db.transaction() as session:
        session.execute(text(statement))
    assert [entry.action for entry in entries(project_id)] == ["quota.set"]


def test_filters_must_all_hold(project_id: UUID) -> None:
    key, member = new_id(), new_id()
    with db.transaction() as session:
        for who, action, target in (
            (Origin(project_id, "t", key_id=key), "job.create", "job_1"),
            (Origin(project_id, "t", key_id=key), "job.cancel", "job_1"),
            (Origin(project_id, "t", member_id=member), "job.cancel", "job_2"),
            (Origin(project_id, "t", member_id=member), "jobless.cancel", "x"),
        ):
            audit.record(session, who, action=action, target=target)
        other = factories.project(session).id
        audit.record(session, audit.Operator(other), action="job.cancel")

    def found(**filters: object) -> list[str]:
        return [entry.action for entry in entries(project_id, **filters)]

    assert found() == ["jobless.cancel", "job.cancel", "job.cancel", "job.create"]
    assert found(action="job") == ["job.cancel", "job.cancel", "job.create"]
    assert found(action="job.cancel", target="job_1") == ["job.cancel"]
    assert found(actor=to_public("mem", member)) == ["jobless.cancel", "job.cancel"]
    assert found(actor=to_public("key", key), action="job.create") == ["job.create"]
    assert found(actor_type="operator") == []
    assert found(actor="key_nonsense") == []
    now = db.utc_now()
    assert found(after=now + timedelta(minutes=1)) == []
    assert len(found(before=now + timedelta(minutes=1), after=now - timedelta(minutes=5))) == 4
