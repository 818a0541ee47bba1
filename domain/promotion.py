"""Promotes checkpoints: what a job had learned by then becomes an adapter of the registry."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from domain import events, jobs
from domain.adapters import adapter_in
from domain.errors import ArtifactExpired, NotFound
from domain.ids import new_id, to_public
from domain.job_status import TERMINAL
from domain.tables import Adapter, Checkpoint


def promote(
    session: Session, *, project_id: UUID, job_id: UUID, checkpoint_id: UUID
) -> tuple[Adapter, bool]:
    """The adapter of the checkpoint, and whether it was made now: a checkpoint is promoted once.

    It shares the checkpoint's files, which stay when the checkpoint is given up for newer ones. Raises
    `NotFound` and, for files that are gone, `ArtifactExpired`.
    """
    # A worker that gives up checkpoints holds the same lock.
    job = jobs.locked(session, project_id=project_id, job_id=job_id)
    query = select(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.job_id == job_id)
    checkpoint = session.scalar(query.execution_options(populate_existing=True))
    public_id = to_public("ck", checkpoint_id)
    if checkpoint is None:
        raise NotFound(f"There is no checkpoint {public_id!r} of this job.")
    before = session.scalar(select(Adapter).where(Adapter.checkpoint_id == checkpoint_id))
    if before is not None:
        return before, False
    if checkpoint.expired_at is not None or job.deleted_at is not None:
        raise ArtifactExpired(f"The files of {public_id} are no longer kept.")
    prefix, files = adapter_in(checkpoint)
    adapter = Adapter(
        id=new_id(),
        project_id=project_id,
        job_id=job_id,
        kind="promoted",
        checkpoint_id=checkpoint_id,
        attempt=checkpoint.attempt,
        step=checkpoint.step,
        prefix=prefix,
        files=files,
        size_bytes=sum(file["size_bytes"] for file in files),
    )
    session.add(adapter)
    session.flush()
    session.refresh(adapter)
    if job.status not in TERMINAL:
        told = {"adapter_id": to_public("ad", adapter.id), "checkpoint_id": public_id}
        events.append(
            session,
            job_id=job_id,
            type="job.adapter_ready",
            message=f"The checkpoint of step {adapter.step} was promoted.",
            data={**told, "size_bytes": adapter.size_bytes},
            step=adapter.step,
        )
    return adapter, True
