"""Deleting jobs that are over: their files go, the row stays as a tombstone.

The files are gone for clients with the commit; the sweeper removes the objects (`domain.garbage`).
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from domain import events, jobs, pausing
from domain.adapter_tables import AdapterAlias
from domain.errors import ArtifactExpired, InUse
from domain.generation_table import TERMINAL as GENERATED
from domain.generation_table import Generation
from domain.ids import to_public
from domain.tables import Adapter, Checkpoint, Job


def delete(session: Session, *, project_id: UUID, job_id: UUID) -> Job:
    """The job, deleted; deleting it again changes nothing.

    Raises `NotFound`, `InvalidTransition` unless it is over, and `InUse` while an alias points at an
    adapter of it, or a job or generation that is under way starts from what it made.
    """
    job = jobs.locked(session, project_id=project_id, job_id=job_id)
    if job.deleted_at is not None:
        return job
    pausing.require_action(
        job, "delete", "Only a job that is over can be deleted: cancel it first."
    )
    used_by = _used_by(session, job)
    if used_by:
        detail = f"What it made is still needed by {', '.join(used_by)}."
        raise InUse(detail, used_by=used_by)
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.job_id == job_id, Checkpoint.expired_at.is_(None))
        .values(expired_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    deleted = (
        update(Job)
        .where(Job.id == job_id)
        .values(
            deleted_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
            version=Job.version + 1,
        )
        .execution_options(synchronize_session=False)
    )
    session.execute(deleted)
    message = "The job was deleted: its files are gone."
    events.append(session, job_id=job_id, type="job.deleted", message=message)
    session.refresh(job)
    return job


def refuse_deleted(job: Job) -> None:
    """Raises `ArtifactExpired` for a job whose files went with it."""
    if job.deleted_at is not None:
        at = job.deleted_at.isoformat(timespec="seconds")
        raise ArtifactExpired(f"Its job {to_public('job', job.id)!r} was deleted at {at}.")


def _used_by(session: Session, job: Job) -> list[str]:
    """Aliases, jobs and generations that need files of the job."""
    adapters = select(Adapter.id).where(Adapter.job_id == job.id)
    aliases = select(AdapterAlias.name).where(AdapterAlias.adapter_id.in_(adapters))
    successors = select(Job.id).where(
        Job.project_id == job.project_id,
        Job.finished_at.is_(None),
        Job.init_from["job_id"].astext == to_public("job", job.id),
    )
    generations = select(Generation.id).where(
        Generation.adapter_id.in_(adapters), Generation.status.not_in(GENERATED)
    )
    return [
        *(f"@{name}" for name in session.scalars(aliases.order_by(AdapterAlias.name))),
        *(to_public("job", found) for found in session.scalars(successors)),
        *(to_public("gen", found) for found in session.scalars(generations)),
    ]
