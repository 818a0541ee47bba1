from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import insert

from domain import db, events, job_deletion
from domain.adapter_tables import AdapterAlias
from domain.errors import ArtifactExpired, InUse, InvalidTransition
from domain.generation_table import Generation
from domain.ids import to_public
from domain.tables import Checkpoint, Job
from tests import factories, generation_lives, lives

pytestmark = pytest.mark.usefixtures("settings")


def deleted(job: Job) -> Job:
    with db.transaction() as session:
        return job_deletion.delete(session, project_id=job.project_id, job_id=job.id)


def cancelled_with_an_adapter() -> Job:
    claim = lives.training()
    lives.checkpointed(claim, [10])
    lives.cancel(claim.job_id)
    return lives.ended(claim, lives.Status.CANCELLED)


def successor(parent: Job) -> UUID:
    """A queued job that starts from a checkpoint of `parent`."""
    with db.transaction() as session:
        job = factories.job(session, parent.project_id)
        job.init_from = {"job_id": to_public("job", parent.id)}
        return job.id


def test_a_deleted_job_stays_as_a_tombstone_without_files() -> None:
    job = cancelled_with_an_adapter()
    gone = deleted(job)
    assert (gone.status, gone.deleted_at is not None) == ("cancelled", True)
    assert gone.version > job.version
    with db.read() as session:
        checkpoints = session.query(Checkpoint).filter_by(job_id=job.id).all()
        assert events.list_after(session, job_id=job.id)[-1].type == "job.deleted"
    assert all(checkpoint.expired_at is not None for checkpoint in checkpoints)
    with pytest.raises(ArtifactExpired, match="was deleted at"):
        job_deletion.refuse_deleted(gone)
    job_deletion.refuse_deleted(job)


def test_deleting_again_changes_nothing() -> None:
    job = deleted(lives.succeeded())
    assert deleted(job).version == job.version


def test_a_job_that_is_not_over_cannot_be_deleted() -> None:
    with pytest.raises(InvalidTransition, match="cancel it first"):
        deleted(lives.waiting())


def test_what_an_alias_points_at_cannot_be_deleted() -> None:
    job = cancelled_with_an_adapter()
    with db.transaction() as session:
        values = {"project_id": job.project_id, "name": "production", "adapter_id": job.adapter_id}
        session.execute(insert(AdapterAlias).values(values))
    with pytest.raises(InUse) as refused:
        deleted(job)
    assert refused.value.extra == {"used_by": ["@production"]}
    assert lives.now(job.id).deleted_at is None


def test_what_another_job_starts_from_can_be_deleted_once_that_is_over() -> None:
    job = cancelled_with_an_adapter()
    child = successor(job)
    with pytest.raises(InUse) as refused:
        deleted(job)
    assert refused.value.extra == {"used_by": [to_public("job", child)]}
    lives.cancel(child)
    assert deleted(job).deleted_at is not None


def test_what_a_generation_uses_can_be_deleted_once_that_is_over() -> None:
    job = cancelled_with_an_adapter()
    generation = generation_lives.waiting(job.project_id)
    with db.transaction() as session:
        session.get_one(Generation, generation.id).adapter_id = job.adapter_id
    with pytest.raises(InUse) as refused:
        deleted(job)
    assert refused.value.extra == {"used_by": [to_public("gen", generation.id)]}
    ended = generation_lives.failed(generation_lives.claimed(), retryable=False)
    assert ended.status == "failed"
    assert deleted(job).deleted_at is not None
