"""Row-level security: under a tenant, SQL without any condition sees and writes one project's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from domain import api_keys, audit, db, jobs, members, quotas
from domain.callers import Origin
from domain.errors import NotFound
from domain.ids import new_id
from domain.tables import Base, Job, Project
from domain.upload_table import Upload
from tests import factories, lives

pytestmark = pytest.mark.usefixtures("settings")
OF_NO_PROJECT = {"workers"}
"""Tables that hold nothing of any project."""


@contextmanager
def working_for(project_id: UUID) -> Iterator[Session]:
    """A transaction under the tenant."""
    before = db.tenant.set(project_id)
    try:
        with db.transaction() as session:
            yield session
    finally:
        db.tenant.reset(before)


@pytest.fixture
def theirs() -> UUID:
    """A project with rows in many tables."""
    claim = lives.finalizing()
    with db.transaction() as session:
        project_id = claim.project_id
        api_keys.create(session, project_id=project_id, name="ci")
        members.invite(
            session, project_id=project_id, email="a@example.com", name="A", role="admin"
        )
        quotas.set_limits(session, project_id, queued_jobs=9)
        audit.record(session, audit.Operator(project_id), action="quota.set")
        session.add(
            Upload(
                id=new_id(),
                project_id=project_id,
                name="a.png",
                content_type="image/png",
                key="k",
                sha256="0" * 64,
                size_bytes=1,
            )
        )
    return project_id


@pytest.fixture
def mine() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def counts(session: Session) -> dict[str, int]:
    """The rows that the session sees, by table."""
    return {
        name: session.scalars(select(func.count()).select_from(table)).one()
        for name, table in Base.metadata.tables.items()
        if name not in OF_NO_PROJECT
    }


def test_every_table_with_rows_of_a_project_has_a_policy() -> None:
    with db.read() as session:
        secured = session.execute(
            text(
                "SELECT c.relname, c.relrowsecurity, p.polqual IS NOT NULL, p.polroles::regrole[]::text"
                " FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid"
                " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
                " AND c.relname <> 'alembic_version'"
            )
        ).all()
    unsafe = {row[0] for row in secured if tuple(row[1:]) != (True, True, "{vader_tenant}")}
    assert unsafe == OF_NO_PROJECT
    assert {row[0] for row in secured} == set(Base.metadata.tables)


def test_the_role_can_neither_log_in_nor_pass_by_its_policies() -> None:
    with db.read() as session:
        role = session.execute(
            text(
                "SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole FROM pg_roles"
                " WHERE rolname = 'vader_tenant'"
            )
        ).one()
        owned = session.scalar(
            text("SELECT count(*) FROM pg_class WHERE relowner = 'vader_tenant'::regrole")
        )
    assert (tuple(role), owned) == ((False, False, False, False), 0)


def test_a_tenant_sees_its_own_rows_and_no_others(mine: UUID, theirs: UUID) -> None:
    with db.read() as session:
        everything = counts(session)
    assert sum(count > 0 for count in everything.values()) >= 14
    with working_for(theirs) as session:
        # All rows are of that project, but for the other project's own row.
        assert counts(session) == {**everything, "projects": 1}
    with working_for(mine) as session:
        assert counts(session) == {**dict.fromkeys(everything, 0), "projects": 1}


def test_a_tenant_cannot_write_into_another_project(mine: UUID, theirs: UUID) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"), working_for(mine) as session:
        factories.job(session, theirs)
    with working_for(mine) as session:
        renamed = session.execute(update(Job).values(name="stolen").returning(Job.id))
        assert renamed.all() == []
    with working_for(mine) as session:
        taken = factories.job(session, mine).id
    with pytest.raises(ProgrammingError, match="row-level security"), working_for(mine) as session:
        session.execute(update(Job).where(Job.id == taken).values(project_id=theirs))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE project_quotas SET queued_jobs = 1000000",
        "UPDATE usage_entries SET gpu_seconds = 0",
        "UPDATE stored_bytes SET size_bytes = 0",
        "DELETE FROM audit_entries",
        "DELETE FROM jobs",
        "TRUNCATE jobs CASCADE",
        "SELECT * FROM alembic_version",
        "CREATE TABLE mine (id int)",
    ],
)
def test_a_tenant_cannot_do_what_the_api_never_does(mine: UUID, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"permission denied"), working_for(mine) as session:
        session.execute(text(statement))


def test_the_role_without_a_project_sees_nothing(mine: UUID, theirs: UUID) -> None:
    """Also on a connection where a project was named before: the setting is left empty there, not null."""
    with working_for(theirs) as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1
    with db.read() as session:
        session.execute(text(f"SET LOCAL ROLE {db.TENANT_ROLE}"))
        assert set(counts(session).values()) == {0}


def test_a_pooled_connection_keeps_nothing_of_the_tenant(mine: UUID, theirs: UUID) -> None:
    for project_id in (mine, theirs, mine):
        with working_for(project_id) as session:
            assert session.scalars(select(Project.id)).all() == [project_id]
        with db.read() as session:
            assert session.scalar(text("SELECT current_user")) != db.TENANT_ROLE
            assert {mine, theirs} <= set(session.scalars(select(Project.id)))


def test_counts_over_all_projects_end_with_their_block(mine: UUID, theirs: UUID) -> None:
    with working_for(mine) as session:
        with db.all_projects(session):
            assert session.scalar(select(func.count()).select_from(Job)) == 1
        assert session.scalar(select(func.count()).select_from(Job)) == 0
    with db.read() as session, db.all_projects(session):
        assert session.scalar(select(func.count()).select_from(Job)) == 1


def test_domain_functions_work_under_a_tenant(mine: UUID, theirs: UUID) -> None:
    with working_for(mine) as session:
        job = factories.job(session, mine)
        audit.record(session, Origin(mine, "t"), action="job.create")
        quotas.check_new_job(session, mine)
    with working_for(mine) as session:
        assert jobs.get(session, project_id=mine, job_id=job.id).name == job.name
        assert quotas.state(session, mine)["queued_jobs"].used == 1
    with working_for(theirs) as session, pytest.raises(NotFound):
        # The condition of the domain is not what refuses here.
        jobs.get(session, project_id=mine, job_id=job.id)
