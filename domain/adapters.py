"""Publishes adapters: rows that point at files which lie in the object store already."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from domain import events
from domain.ids import new_id, to_public
from domain.tables import Adapter, Checkpoint, Job, Json

_IN_CHECKPOINT = "adapter/"


def publish(
    session: Session, job: Job, *, step: int, prefix: str, files: Sequence[Json]
) -> Adapter:
    """Makes the files below `prefix` the job's final adapter, in place of an earlier one.

    `files` are path (below the prefix), size_bytes and sha256.
    """
    values = {
        "attempt": job.attempt,
        "step": step,
        "prefix": prefix,
        "files": list(files),
        "size_bytes": sum(file["size_bytes"] for file in files),
    }
    row = insert(Adapter).values(
        id=new_id(), project_id=job.project_id, job_id=job.id, kind="final", **values
    )
    written = row.on_conflict_do_update(
        index_elements=[Adapter.job_id], index_where=Adapter.kind == "final", set_=values
    )
    adapter: Adapter = session.scalars(
        written.returning(Adapter), execution_options={"populate_existing": True}
    ).one()
    _point_at(session, job.id, adapter.id)
    events.append(
        session,
        job_id=job.id,
        type="job.adapter_ready",
        message=f"The adapter of step {step} is stored.",
        data={"adapter_id": to_public("ad", adapter.id), "size_bytes": adapter.size_bytes},
        step=step,
    )
    return adapter


def publish_newest_checkpoint(session: Session, job: Job) -> Adapter | None:
    """Makes what the newest stored checkpoint holds the job's adapter; None where there is none.

    That of step 0 holds nothing that was learned.
    """
    query = select(Checkpoint).where(
        Checkpoint.job_id == job.id, Checkpoint.expired_at.is_(None), Checkpoint.step > 0
    )
    newest = session.scalars(query.order_by(Checkpoint.step.desc()).limit(1)).one_or_none()
    if newest is None:
        return None
    prefix, files = adapter_in(newest)
    return publish(session, job, step=newest.step, prefix=prefix, files=files)


def adapter_in(checkpoint: Checkpoint) -> tuple[str, list[Json]]:
    """The object key prefix and the files of the adapter that a checkpoint holds."""
    files = [
        {**file, "path": file["path"].removeprefix(_IN_CHECKPOINT)}
        for file in checkpoint.files
        if file["path"].startswith(_IN_CHECKPOINT)
    ]
    return f"{checkpoint.prefix}/{_IN_CHECKPOINT}".rstrip("/"), files


def _point_at(session: Session, job_id: UUID, adapter_id: UUID) -> None:
    session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(adapter_id=adapter_id, version=Job.version + 1)
        .execution_options(synchronize_session="evaluate")
    )
