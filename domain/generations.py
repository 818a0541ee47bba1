"""Generations: videos made on demand, by workers of their own and not by those that train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from domain import db, events, queue, usage, webhook_outbox
from domain.callers import Origin
from domain.errors import InvalidTransition
from domain.generation_table import TERMINAL, Generation, GenerationStatus
from domain.ids import new_id, to_public
from domain.pages import Page, page
from domain.settings import get_settings
from domain.short_tasks import ShortTasks
from domain.tables import Adapter, Job, Json
from domain.upload_table import Upload
from vader_core.generate_command import IMAGES
from vader_core.generating import GenerationSpec
from vader_core.generation_faults import AdapterOrigin


def _used(session: Session, row: Generation, seconds: float) -> None:
    row.gpu_seconds += seconds
    # A cancel comes from the API, which may not write the ledger.
    with db.all_projects(session):
        usage.add(
            session,
            project_id=row.project_id,
            kind="generation",
            subject_id=row.id,
            base_model=row.base_model,
            gpu_seconds=seconds,
        )


TASKS = ShortTasks(
    Generation,
    prefix="gen",
    worker="generator",
    ring=queue.ring_generator,
    waits_at_most=timedelta(hours=6),
    used=_used,
    ended=webhook_outbox.queue_generation,
)

ADAPTER_FOLDER = "adapter"
"""Where a generator finds the adapter's files, below its request's folder."""
# What sampling needs of an adapter; the rest of its files is for people and other programs.
_PEFT_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors"})


@dataclass(frozen=True)
class Asked:
    """What a client asked for. `spec` is resolved; `adapter_id` is the adapter that it means."""

    spec: GenerationSpec
    adapter_id: UUID | None
    inputs: list[Json]
    """As the table has them."""


def create(session: Session, asked: Asked, *, origin: Origin) -> Generation:
    """A queued generation; a generator is told after the commit."""
    row = Generation(
        id=new_id(),
        project_id=origin.project_id,
        created_by_key_id=origin.key_id,
        created_by_member_id=origin.member_id,
        trace_id=origin.trace_id,
        adapter_id=asked.adapter_id,
        base_model=asked.spec.base_model,
        spec=asked.spec.model_dump(mode="json"),
        inputs=asked.inputs,
        status=GenerationStatus.QUEUED.value,
    )
    return TASKS.add(session, row)


def inputs_of(adapter: Adapter | None, image: Upload | None) -> list[Json]:
    """What a generator needs of the adapter and of the first image, as the table has it."""
    inputs = []
    for file in [] if adapter is None else adapter.files:
        if file["path"].rpartition("/")[2] in _PEFT_FILES:
            key = f"{adapter.prefix}/{file['path']}" if adapter else ""
            inputs.append({**file, "path": f"{ADAPTER_FOLDER}/{file['path']}", "key": key})
    if image is not None:
        path = f"{IMAGES}/{to_public('upl', image.id)}"
        same = {name: getattr(image, name) for name in ("key", "sha256", "size_bytes")}
        inputs.append({"path": path, **same})
    return inputs


def origin_of(session: Session, adapter: Adapter) -> AdapterOrigin:
    """What the adapter was trained on."""
    base_model, variant = Job.spec["base_model"].astext, Job.spec["variant"].astext
    found = session.execute(select(base_model, variant).where(Job.id == adapter.job_id)).one()
    return AdapterOrigin(base_model=found[0], variant=found[1])


def get(session: Session, *, project_id: UUID, generation_id: UUID) -> Generation:
    """The generation, also a deleted one. Raises `NotFound`, also for another project's."""
    return TASKS.get(session, project_id=project_id, row_id=generation_id)


def list_generations(
    session: Session,
    *,
    project_id: UUID,
    adapter_id: UUID | None = None,
    statuses: Sequence[str] = (),
    cursor: str | None,
    limit: int,
) -> Page[Generation]:
    """The project's generations, newest first, without deleted ones. Raises `InvalidCursor`."""
    query = select(Generation).where(
        Generation.project_id == project_id, Generation.deleted_at.is_(None)
    )
    if adapter_id is not None:
        query = query.where(Generation.adapter_id == adapter_id)
    if statuses:
        query = query.where(Generation.status.in_(statuses))
    return page(
        session,
        query,
        keys=(Generation.created_at, Generation.id),
        filtered_by=f"generations {project_id} {adapter_id} {sorted(statuses)}",
        cursor=cursor,
        limit=limit,
    )


def queue_places(session: Session, rows: Sequence[Generation]) -> dict[UUID, int]:
    """Of each row that waits, its place among the waiting ones of its project; 1 is next."""
    waiting = [row.id for row in rows if row.status == GenerationStatus.QUEUED]
    if not waiting:
        return {}
    place = func.row_number().over(
        partition_by=Generation.project_id, order_by=(Generation.created_at, Generation.id)
    )
    projects = {row.project_id for row in rows}
    places = (
        select(Generation.id, place.label("place"))
        .where(Generation.status == GenerationStatus.QUEUED, Generation.project_id.in_(projects))
        .subquery()
    )
    found = session.execute(select(places.c.id, places.c.place).where(places.c.id.in_(waiting)))
    return {row.id: row.place for row in found}


def cancel(session: Session, *, project_id: UUID, generation_id: UUID) -> Generation:
    """Ends the generation at once; a generator that works at it stops within a heartbeat.

    Raises `NotFound`, and `InvalidTransition` for one that has ended.
    """
    row = _locked(session, project_id=project_id, generation_id=generation_id)
    if "cancel" not in allowed_actions(row):
        raise _not_allowed(row, "cancelled")
    return TASKS.cancel(session, row)


def delete(session: Session, *, project_id: UUID, generation_id: UUID) -> Generation:
    """Gives up the generation's files; the row stays. Deleting it again changes nothing.

    The caller removes the files after the commit (`domain.generation_files`). Raises `NotFound`, and
    `InvalidTransition` for one that has not ended.
    """
    row = _locked(session, project_id=project_id, generation_id=generation_id)
    if row.deleted_at is not None:
        return row
    if "delete" not in allowed_actions(row):
        raise _not_allowed(row, "deleted")
    row.deleted_at = session.scalars(select(func.clock_timestamp())).one()
    row.version += 1
    events.announce(session, row.id)
    return row


def allowed_actions(row: Generation) -> list[str]:
    """What may be done with it now."""
    if row.status not in TERMINAL:
        return ["cancel"]
    return ["delete"] if row.deleted_at is None else []


def expires_at(row: Generation) -> datetime | None:
    """When the files of an ended generation are removed; None before it has ended."""
    if row.finished_at is None:
        return None
    return row.finished_at + timedelta(days=get_settings().generation_keep_days)


def queue_expires_at(row: Generation) -> datetime:
    """When a generation that still waits fails."""
    return row.created_at + TASKS.waits_at_most


def attempts_prefix(row_id: UUID) -> str:
    """The object key under which the files of all attempts lie; it ends in a slash."""
    return f"generations/{to_public('gen', row_id)}/attempts/"


def attempt_prefix(row_id: UUID, attempt: int) -> str:
    """The object key under which the files of one attempt lie; it does not end in a slash."""
    return f"{attempts_prefix(row_id)}{attempt}"


def with_files_to_remove(session: Session, *, limit: int) -> list[UUID]:
    """Ended generations that were deleted or kept for long enough, and still have files."""
    keep = timedelta(days=get_settings().generation_keep_days)
    long_ago = func.clock_timestamp() - keep
    query = select(Generation.id).where(
        Generation.finished_at.is_not(None),
        Generation.files_removed_at.is_(None),
        or_(Generation.deleted_at.is_not(None), Generation.finished_at < long_ago),
    )
    return list(session.scalars(query.order_by(Generation.finished_at).limit(limit)))


def note_removal(session: Session, *, generation_id: UUID) -> None:
    """Notes that the files are gone, once."""
    row = session.get(Generation, generation_id, with_for_update=True)
    if row is not None and row.files_removed_at is None:
        row.files_removed_at = session.scalars(select(func.clock_timestamp())).one()
        row.version += 1
        events.announce(session, row.id)


def _locked(session: Session, *, project_id: UUID, generation_id: UUID) -> Generation:
    row = get(session, project_id=project_id, generation_id=generation_id)
    session.refresh(row, with_for_update=True)
    return row


def _not_allowed(row: Generation, what: str) -> InvalidTransition:
    return InvalidTransition(
        f"A generation that is {row.status} cannot be {what}.",
        current_status=row.status,
        allowed_actions=allowed_actions(row),
    )
