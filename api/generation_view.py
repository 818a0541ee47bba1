"""From the rows of generations to the shape that clients see."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from api.schemas.generations import GenerationQueue, GenerationShape, LinkOf, WaitReason
from api.schemas.jobs import CreatedBy
from api.waiting import Glance
from domain import api_keys, generations, ids, members, quotas
from domain.generation_table import TERMINAL, Generation, GenerationStatus


def shown(
    session: Session, rows: Sequence[Generation], link_of: LinkOf | None
) -> list[GenerationShape]:
    """The rows in their order; without links to files where `link_of` is None."""
    places = generations.queue_places(session, rows)
    reason = _waits_for(session, rows) if places else None
    names = _names(session, rows)
    return [
        GenerationShape.of(
            row,
            queue=_queue(row, places.get(row.id), reason),
            created_by=_maker(row, names),
            link_of=link_of,
        )
        for row in rows
    ]


def glance(session: Session, row: Generation) -> Glance:
    """The tag of the row as it is, which is another at another place in the queue or for another reason."""
    place = generations.queue_places(session, [row]).get(row.id)
    queue = "" if place is None else f"-{place}-{_waits_for(session, [row])}"
    tag = f'W/"{row.version}{queue}"'
    return Glance(tag, ended=GenerationStatus(row.status) in TERMINAL)


def _waits_for(session: Session, rows: Sequence[Generation]) -> WaitReason:
    """What the queued ones of `rows`, which are of one project, wait for."""
    return "quota" if quotas.is_spent(session, rows[0].project_id) else "no_free_gpu"


def _queue(row: Generation, place: int | None, reason: WaitReason | None) -> GenerationQueue | None:
    if place is None or reason is None:
        return None
    return GenerationQueue(
        position=place, reason=reason, expires_at=generations.queue_expires_at(row)
    )


def _names(session: Session, rows: Sequence[Generation]) -> dict[UUID, str]:
    """Of the keys and members that made the rows."""
    keys = {row.created_by_key_id for row in rows if row.created_by_key_id is not None}
    people = {row.created_by_member_id for row in rows if row.created_by_member_id is not None}
    return {**api_keys.names(session, keys), **members.names(session, people)}


def _maker(row: Generation, names: dict[UUID, str]) -> CreatedBy | None:
    if row.created_by_key_id is not None:
        key_id = row.created_by_key_id
        name = names.get(key_id, "")
        return CreatedBy(type="api_key", id=ids.to_public("key", key_id), name=name)
    if row.created_by_member_id is not None:
        member_id = row.created_by_member_id
        name = names.get(member_id, "")
        return CreatedBy(type="member", id=ids.to_public("mem", member_id), name=name)
    return None
