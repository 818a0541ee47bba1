"""How adapters are named elsewhere: by id, by alias, or by both."""

from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest

from domain import adapter_registry, artifacts, db, job_deletion, promotion
from domain.adapter_registry import Condition
from domain.errors import ArtifactExpired, EtagMismatch, NotFound
from domain.ids import to_public
from domain.job_status import Status
from domain.tables import Adapter, Job
from tests import factories, lives, locks
from tests.worker.waiting import wait_until

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
        newest, *_ = artifacts.checkpoints(session, job_id=made.job_id).items
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


@pytest.mark.parametrize("made_again", [False, True])
def test_an_alias_that_was_removed_is_not_moved_by_its_old_tag(made_again: bool) -> None:
    made, other = adapter(), uuid4()
    point(made, "production")
    with db.transaction() as session:
        old = adapter_registry.alias(session, project_id=made.project_id, name="production")
        condition = Condition(tag=adapter_registry.tag_of(old))
        where = {"project_id": made.project_id, "name": "production", "adapter_id": made.id}
        adapter_registry.unpoint(session, **where, condition=condition)
    if made_again:
        point(made, "production")
    with db.transaction() as session:
        kept = {column: getattr(made, column) for column in ("prefix", "files", "size_bytes")}
        checkpoint = artifacts.checkpoints(session, job_id=made.job_id).items[0]
        session.add(
            Adapter(
                id=other,
                project_id=made.project_id,
                job_id=made.job_id,
                kind="promoted",
                checkpoint_id=checkpoint.id,
                attempt=1,
                step=checkpoint.step,
                **kept,
            )
        )
    moved = {"project_id": made.project_id, "name": "production", "adapter_id": other}
    with db.transaction() as session, pytest.raises(EtagMismatch):
        adapter_registry.point(session, **moved, condition=condition)


@pytest.mark.parametrize("keep_adapter", [True, False])
def test_a_cancel_while_finalizing_keeps_the_adapter_only_where_it_is_wanted(
    keep_adapter: bool,
) -> None:
    claim = lives.finalizing()
    adapter_id = lives.now(claim.job_id).adapter_id
    lives.cancel(claim.job_id, keep_adapter=keep_adapter)
    job = lives.ended(claim, Status.CANCELLED)
    assert job.adapter_id == (adapter_id if keep_adapter else None)
    with db.read() as session:
        assert (artifacts.adapter_of(session, job_id=job.id) is not None) == keep_adapter


def test_an_unwanted_adapter_that_an_alias_points_at_stays() -> None:
    claim = lives.finalizing()
    with db.read() as session:
        made = artifacts.adapter_of(session, job_id=claim.job_id)
    assert made is not None
    point(made, "production")
    lives.cancel(claim.job_id, keep_adapter=False)
    assert lives.ended(claim, Status.CANCELLED).adapter_id == made.id


def test_an_adapter_is_not_held_when_its_job_was_deleted_while_that_was_waited_for() -> None:
    made = adapter()
    refused: list[ArtifactExpired] = []

    def hold() -> None:
        reference = to_public("ad", made.id)
        with db.transaction() as session, pytest.raises(ArtifactExpired) as error:
            adapter_registry.held(session, project_id=made.project_id, reference=reference)
        refused.append(error.value)

    thread = threading.Thread(target=hold)
    with db.transaction() as session:
        job_deletion.delete(session, project_id=made.project_id, job_id=made.job_id)
        thread.start()
        wait_until(locks.somebody_waits, within_s=20)
    thread.join()
    assert refused
