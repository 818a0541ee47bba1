"""How adapters are named elsewhere: by id, by alias, or by both."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain import adapter_registry, artifacts, db, promotion
from domain.adapter_registry import Condition
from domain.errors import ArtifactExpired, EtagMismatch, NotFound
from domain.ids import to_public
from domain.tables import Adapter, Job
from tests import factories, lives

pytestmark = pytest.mark.usefixtures("settings")


def adapter() -> Adapter:
    """The final adapter of a job of a project of its own."""
    job = lives.succeeded()
    with db.read() as session:
        assert job.adapter_id is not None
        return adapter_registry.get(session, project_id=job.project_id, adapter_id=job.adapter_id)


def point(made: Adapter, name: str, condition: Condition = Condition()) -> None:
    with db.transaction() as session:
        adapter_registry.point(
            session,
            project_id=made.project_id,
            name=name,
            adapter_id=made.id,
            condition=condition,
        )


def resolved(project_id: UUID, reference: str) -> UUID:
    with db.read() as session:
        return adapter_registry.resolve(session, project_id=project_id, reference=reference).id


def test_an_adapter_is_named_by_id_alias_or_both() -> None:
    made = adapter()
    point(made, "production")
    public_id = to_public("ad", made.id)
    for reference in (public_id, "@production", f"{public_id}@production"):
        assert resolved(made.project_id, reference) == made.id


@pytest.mark.parametrize(
    "reference", ["", "@", "@nobody", "production", "ad_1", "job_1@production"]
)
def test_what_names_nothing_is_not_found(reference: str) -> None:
    made = adapter()
    point(made, "production")
    with pytest.raises(NotFound):
        resolved(made.project_id, reference)


def test_both_must_mean_the_same() -> None:
    made = adapter()
    point(made, "production")
    with db.transaction() as session:
        newest, *_ = artifacts.checkpoints(session, job_id=made.job_id)
        other, _ = promotion.promote(
            session,
            project_id=made.project_id,
            job_id=made.job_id,
            checkpoint_id=newest.id,
        )
    with pytest.raises(NotFound, match="does not point at"):
        resolved(made.project_id, f"{to_public('ad', other.id)}@production")


def test_another_project_has_none_of_it() -> None:
    made = adapter()
    point(made, "production")
    with db.transaction() as session:
        stranger = factories.project(session).id
    for reference in (to_public("ad", made.id), "@production"):
        with pytest.raises(NotFound):
            resolved(stranger, reference)


def test_the_files_of_a_deleted_job_are_gone() -> None:
    made = adapter()
    with db.transaction() as session:
        session.get_one(Job, made.job_id).deleted_at = db.utc_now()
    with pytest.raises(ArtifactExpired):
        resolved(made.project_id, to_public("ad", made.id))
    with pytest.raises(ArtifactExpired):
        point(made, "production")


def test_an_alias_that_was_removed_is_not_moved_by_its_old_tag() -> None:
    made = adapter()
    point(made, "production")
    with db.transaction() as session:
        adapter_registry.unpoint(
            session,
            project_id=made.project_id,
            name="production",
            adapter_id=made.id,
            condition=Condition(version=1),
        )
    with pytest.raises(EtagMismatch):
        point(made, "production", Condition(version=1))
