"""The registry of a project's adapters: found by id or alias, listed, and aliases moved."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, defer

from domain.adapter_tables import AdapterAlias
from domain.errors import (
    ArtifactExpired,
    EtagMismatch,
    NotFound,
    PreconditionRequired,
    ValidationFailed,
)
from domain.ids import from_public, to_public
from domain.pages import Page, page
from domain.tables import Adapter, Job
from vader_core.faults import Fault

ALIAS = r"^[a-z][a-z0-9._-]{0,62}$"
_ALIAS = re.compile(ALIAS)


@dataclass(frozen=True, kw_only=True)
class AdapterFilters:
    """What a list is narrowed to. `base_model` is "id" or "id@version", `alias` one that points there."""

    base_model: str | None = None
    job_id: UUID | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Condition:
    """What must hold of an alias that is to be moved: its `tag`, or (`absent`) that there is none."""

    tag: str | None = None
    absent: bool = False


def get(session: Session, *, project_id: UUID, adapter_id: UUID) -> Adapter:
    """The adapter, also when its files are gone. Raises `NotFound`, also for another project's."""
    found = session.get(Adapter, adapter_id)
    if found is None or found.project_id != project_id:
        raise NotFound(f"There is no adapter {to_public('ad', adapter_id)!r} in this project.")
    return found


def resolve(session: Session, *, project_id: UUID, reference: str) -> Adapter:
    """The adapter that `reference` means, with files to use.

    It is `ad_...`, `@alias`, or `ad_...@alias`: that adapter, provided that the alias points at it. Raises
    `NotFound`, and `ArtifactExpired` where its job was deleted.
    """
    public_id, at, name = reference.partition("@")
    pointed = alias(session, project_id=project_id, name=name) if at else None
    if pointed is not None and not public_id:
        adapter_id = pointed.adapter_id
    else:
        adapter_id = from_public("ad", public_id)
    found = get(session, project_id=project_id, adapter_id=adapter_id)
    if pointed is not None and pointed.adapter_id != found.id:
        now = to_public("ad", pointed.adapter_id)
        raise NotFound(f"The alias {name!r} does not point at {public_id}, but at {now}.")
    refuse_deleted(session, found)
    return found


def held(session: Session, *, project_id: UUID, reference: str) -> Adapter:
    """As `resolve`; the adapter's job is not deleted until the transaction ends."""
    found = resolve(session, project_id=project_id, reference=reference)
    session.execute(select(Job.id).where(Job.id == found.job_id).with_for_update(read=True))
    # It may have been deleted while this waited.
    refuse_deleted(session, found)
    return found


def refuse_deleted(session: Session, adapter: Adapter) -> None:
    """Raises `ArtifactExpired` when the adapter's job was deleted, and its files with it, and `NotFound`
    for an adapter that was withdrawn since it was read."""
    query = select(Job.deleted_at).join(Adapter, Adapter.job_id == Job.id)
    row = session.execute(query.where(Adapter.id == adapter.id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no adapter {to_public('ad', adapter.id)!r} in this project.")
    if row.deleted_at is not None:
        raise ArtifactExpired(
            f"The files of {to_public('ad', adapter.id)} were deleted with its job, "
            f"{to_public('job', adapter.job_id)}."
        )


def list_adapters(
    session: Session,
    *,
    project_id: UUID,
    filters: AdapterFilters,
    cursor: str | None,
    limit: int,
) -> Page[Adapter]:
    """The project's adapters whose files are kept, newest first. Raises `InvalidCursor`."""
    conditions: list[ColumnElement[bool]] = [
        Adapter.project_id == project_id,
        Job.deleted_at.is_(None),
    ]
    if filters.base_model is not None:
        name = filters.base_model
        conditions.append(or_(Job.base_model == name, Job.base_model_id == name))
    if filters.job_id is not None:
        conditions.append(Adapter.job_id == filters.job_id)
    if filters.alias is not None:
        named = select(AdapterAlias.adapter_id).where(
            AdapterAlias.project_id == project_id, AdapterAlias.name == filters.alias
        )
        conditions.append(Adapter.id.in_(named))
    said = json.dumps([str(project_id), asdict(filters)], default=str, sort_keys=True)
    return page(
        session,
        select(Adapter).join(Job, Job.id == Adapter.job_id).where(*conditions),
        keys=(Adapter.created_at, Adapter.id),
        filtered_by=f"adapters {said}",
        cursor=cursor,
        limit=limit,
    )


def alias(session: Session, *, project_id: UUID, name: str) -> AdapterAlias:
    """The alias. Raises `NotFound`."""
    found = session.get(AdapterAlias, (project_id, name))
    if found is None:
        raise NotFound(f"There is no adapter alias {name[:100]!r} in this project.")
    return found


def aliases(session: Session, *, project_id: UUID) -> list[AdapterAlias]:
    """All of the project by name."""
    query = select(AdapterAlias).where(AdapterAlias.project_id == project_id)
    return list(session.scalars(query.order_by(AdapterAlias.name)))


def aliases_of(session: Session, adapter_ids: Collection[UUID]) -> dict[UUID, list[str]]:
    """The names of the aliases that point at each of the adapters that have some."""
    query = select(AdapterAlias).where(AdapterAlias.adapter_id.in_(adapter_ids))
    names: dict[UUID, list[str]] = {}
    for row in session.scalars(query.order_by(AdapterAlias.name)):
        names.setdefault(row.adapter_id, []).append(row.name)
    return names


def point(
    session: Session, *, project_id: UUID, name: str, adapter_id: UUID, condition: Condition
) -> AdapterAlias:
    """Makes the alias `name` point at the adapter; asking for what is so already changes nothing.

    Raises `ValidationFailed` for an illegal name, `NotFound`, `ArtifactExpired`, `PreconditionRequired`
    where the alias is there and `condition` does not name its tag, and `EtagMismatch`.
    """
    if _ALIAS.fullmatch(name) is None:
        detail = (
            "A name is of lower-case letters, digits, `.`, `_` and `-`, and begins with a letter."
        )
        raise ValidationFailed(
            [Fault(pointer="", code="illegal_alias", detail=detail)], what="alias"
        )
    adapter = get(session, project_id=project_id, adapter_id=adapter_id)
    # Held, so that the job is not deleted meanwhile.
    session.execute(select(Job.id).where(Job.id == adapter.job_id).with_for_update(read=True))
    refuse_deleted(session, adapter)
    held = _held(session, project_id, name)
    if held is not None and held.adapter_id == adapter_id:
        return held
    _check(held, condition)
    if held is not None:
        held.adapter_id, held.version = adapter_id, held.version + 1
        held.updated_at = func.clock_timestamp()
        session.flush()
        session.refresh(held)
        return held
    row = insert(AdapterAlias).values(project_id=project_id, name=name, adapter_id=adapter_id)
    made = session.scalars(row.on_conflict_do_nothing().returning(AdapterAlias)).one_or_none()
    if made is None:
        raise EtagMismatch(f"The alias {name!r} was made by somebody else this moment.")
    return made


def unpoint(
    session: Session, *, project_id: UUID, name: str, adapter_id: UUID, condition: Condition
) -> None:
    """Removes the alias `name` of the adapter. Raises `NotFound` where it does not point there, and
    `EtagMismatch`."""
    held = _held(session, project_id, name)
    if held is None or held.adapter_id != adapter_id:
        raise NotFound(f"There is no alias {name[:100]!r} of {to_public('ad', adapter_id)}.")
    if condition.tag is not None:
        _check(held, condition)
    session.delete(held)


def tag_of(alias: AdapterAlias) -> str:
    """What is another after every move, and for an alias that was removed and made again."""
    made_at_us = round(alias.created_at.timestamp() * 1e6)
    return f"{made_at_us}-{alias.version}"


def withdraw(session: Session, job: Job) -> None:
    """Takes the final adapter of `job`, which is locked, out of the registry: nobody wants it.

    One that an alias points at, or that a job starts from which has not ended, stays.
    """
    if job.adapter_id is None:
        return
    public_id = to_public("ad", job.adapter_id)
    named = select(AdapterAlias.name).where(AdapterAlias.adapter_id == job.adapter_id)
    starting = select(Job.id).where(
        Job.project_id == job.project_id,
        Job.finished_at.is_(None),
        Job.init_from["id"].astext == public_id,
    )
    if session.scalar(named.limit(1)) is None and session.scalar(starting.limit(1)) is None:
        session.execute(delete(Adapter).where(Adapter.id == job.adapter_id))
        job.adapter_id = None
        session.flush()


def _held(session: Session, project_id: UUID, name: str) -> AdapterAlias | None:
    query = select(AdapterAlias).where(
        AdapterAlias.project_id == project_id, AdapterAlias.name == name
    )
    return session.scalar(query.with_for_update())


def _check(held: AdapterAlias | None, condition: Condition) -> None:
    if held is None:
        if condition.tag is not None:
            raise EtagMismatch("There is no such alias any more: leave `If-Match` out to make it.")
        return
    if condition.tag is None and not condition.absent:
        raise PreconditionRequired(
            f"The alias {held.name!r} points at {to_public('ad', held.adapter_id)}: name its `ETag` in "
            "`If-Match` to move it."
        )
    if condition.tag != tag_of(held):
        now = to_public("ad", held.adapter_id)
        raise EtagMismatch(f"The alias {held.name!r} points at {now} now.")


def jobs_of(session: Session, adapters: Sequence[Adapter]) -> dict[UUID, Job]:
    """The jobs of the adapters by id, without what clients sent."""
    wanted = {adapter.job_id for adapter in adapters}
    query = select(Job).where(Job.id.in_(wanted)).options(defer(Job.asked_spec, raiseload=True))
    return {job.id: job for job in session.scalars(query)}
