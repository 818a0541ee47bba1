"""Prompt sets: named lists of prompts. A version never changes; the same name again is a new version.

A version can be deleted: its prompts go, and what is left of it keeps its number from being given again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, undefer

from domain import pages
from domain.callers import Origin
from domain.errors import ArtifactExpired, InUse, NotFound
from domain.ids import from_public, new_id, to_public
from domain.pages import Page, page
from domain.prompt_report import Predecessor, PromptReport
from domain.tables import Job, Project, PromptSet
from vader_core.prompts import heldout_marks
from vader_core.spec import Prompt

Side = Literal["training", "heldout"]
# Versions that fit into the column, and no leading zero.
_VERSION = re.compile("[1-9][0-9]{0,17}")
_SHOWN_USERS = 10


@dataclass(frozen=True)
class PlacedPrompt:
    """A prompt of a set: which one it is, from 0, and the side it is on."""

    index: int
    prompt: Prompt
    side: Side


def one_at_a_time(session: Session, project_id: UUID) -> None:
    """Makes whoever makes a version in this project wait until the session's transaction is over.

    Two that make a version of the same name at once would take the same number.
    """
    query = select(Project.id).where(Project.id == project_id)
    # Not the whole lock: that would hold up everything else that is made in the project.
    session.execute(query.with_for_update(key_share=True))


def create(
    session: Session,
    *,
    origin: Origin,
    name: str,
    prompts: Sequence[Prompt],
    report: PromptReport,
) -> PromptSet:
    """The next version of the prompt set `name`."""
    one_at_a_time(session, origin.project_id)
    newest_version = select(func.coalesce(func.max(PromptSet.version), 0)).where(
        PromptSet.project_id == origin.project_id, PromptSet.name == name
    )
    items = [prompt.model_dump(mode="json", exclude_none=True) for prompt in prompts]
    text = json.dumps(items, sort_keys=True, separators=(",", ":"))
    made = PromptSet(
        id=new_id(),
        project_id=origin.project_id,
        name=name,
        version=session.scalars(newest_version).one() + 1,
        items=items,
        size=len(items),
        size_bytes=len(text.encode()),
        report=report.model_dump(mode="json"),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        created_by_key_id=origin.key_id,
        created_by_member_id=origin.member_id,
    )
    session.add(made)
    # The answer shows created_at, which the database sets.
    session.flush()
    return made


def newest(session: Session, *, project_id: UUID, name: str) -> Predecessor | None:
    """The newest version of the set `name`, None where there is none yet."""
    query = _kept(project_id).where(PromptSet.name == name)
    found = session.scalar(
        query.order_by(PromptSet.version.desc()).limit(1).options(undefer(PromptSet.items))
    )
    return None if found is None else Predecessor(found.version, prompts_of(found))


def get(session: Session, *, project_id: UUID, prompt_set_id: UUID) -> PromptSet:
    """The prompt set; its items are read when they are asked for. Raises `NotFound`, also for another
    project's, and `ArtifactExpired` for one that was deleted."""
    return _whole(session.get(PromptSet, prompt_set_id), project_id, prompt_set_id)


def delete(session: Session, *, project_id: UUID, prompt_set_id: UUID) -> None:
    """Gives up this version's prompts. Deleting it again changes nothing.

    Raises `NotFound`, and `InUse` while a job that is not over has its prompts from it.
    """
    query = select(PromptSet).where(PromptSet.id == prompt_set_id).with_for_update()
    try:
        row = _whole(session.scalar(query), project_id, prompt_set_id)
    except ArtifactExpired:
        return
    used = select(Job.id).where(
        Job.project_id == project_id,
        Job.finished_at.is_(None),
        Job.spec[("prompts", "prompt_set")].astext == reference_to(row),
    )
    used_by = [to_public("job", found) for found in session.scalars(used.limit(_SHOWN_USERS))]
    if used_by:
        raise InUse(f"Its prompts are still needed by {', '.join(used_by)}.", used_by=used_by)
    row.items, row.size_bytes = [], 0
    row.deleted_at = session.scalars(select(func.clock_timestamp())).one()


def list_sets(
    session: Session, *, project_id: UUID, name: str | None, cursor: str | None, limit: int
) -> Page[PromptSet]:
    """The project's prompt sets, or the versions of the one called `name`, newest first."""
    query = _kept(project_id)
    if name is not None:
        query = query.where(PromptSet.name == name)
    return page(
        session,
        query,
        keys=(PromptSet.created_at, PromptSet.id),
        filtered_by=f"prompt_sets {project_id} {name!r}",
        cursor=cursor,
        limit=limit,
    )


def prompts_of(row: PromptSet) -> list[Prompt]:
    """The set's prompts. The row must still be in its session, unless it has just been made."""
    return [Prompt.model_validate(item) for item in row.items]


def placed_prompts(
    row: PromptSet, *, heldout_fraction: float, side: Side | None, cursor: str | None, limit: int
) -> tuple[list[PlacedPrompt], str | None]:
    """Some of the set's prompts in their order, of one side or both, and the cursor to those after them.

    Raises `InvalidCursor`.
    """
    filtered_by = f"prompts {row.id} {heldout_fraction} {side}"
    start = 0 if cursor is None else pages.number_of(cursor, filtered_by)
    prompts = prompts_of(row)
    # The side of one rests on the marks of others, so all are looked at.
    marks = heldout_marks(prompts, heldout_fraction)
    found = [
        PlacedPrompt(index, prompt, "heldout" if marks[index] else "training")
        for index, prompt in enumerate(prompts)
        if index >= start and (side is None or marks[index] == (side == "heldout"))
    ]
    following = found[limit:]
    return found[:limit], pages.encoded([following[0].index], filtered_by) if following else None


def find(
    session: Session, *, project_id: UUID, reference: str, hold: bool = False
) -> PromptSet | None:
    """The set that a spec names, None when there is none: "ps_..." or "ps_...@v2", which must be its version;
    or by name, "shapes" for the newest version and "shapes@v2".

    With `hold` it cannot be deleted until the transaction ends.
    """
    found = _found(session, project_id, reference)
    if found is None or not hold:
        return found
    session.refresh(found, with_for_update={"read": True})
    return found if found.deleted_at is None else None


def _found(session: Session, project_id: UUID, reference: str) -> PromptSet | None:
    public_id, _, version = reference.rpartition("@") if "@" in reference else (reference, "", "")
    try:
        found = get(session, project_id=project_id, prompt_set_id=from_public("ps", public_id))
    except ArtifactExpired:
        return None
    except NotFound:
        return _named(session, project_id, reference)
    return found if version in {"", f"v{found.version}"} else None


def reference_to(row: PromptSet) -> str:
    """What names this version and no other: "ps_...@v2"."""
    return f"{to_public('ps', row.id)}@v{row.version}"


def load(session: Session, *, project_id: UUID, reference: str) -> list[Prompt] | None:
    """The prompts of the set that `find` finds, None when there is none."""
    found = find(session, project_id=project_id, reference=reference)
    return None if found is None else prompts_of(found)


def _kept(project_id: UUID) -> Select[PromptSet]:
    return select(PromptSet).where(
        PromptSet.project_id == project_id, PromptSet.deleted_at.is_(None)
    )


def _whole(found: PromptSet | None, project_id: UUID, prompt_set_id: UUID) -> PromptSet:
    name = to_public("ps", prompt_set_id)
    if found is None or found.project_id != project_id:
        raise NotFound(f"There is no prompt set {name!r} in this project.")
    if found.deleted_at is not None:
        at = found.deleted_at.isoformat(timespec="seconds")
        raise ArtifactExpired(f"The prompt set {name!r} was deleted at {at}.")
    return found


def _named(session: Session, project_id: UUID, reference: str) -> PromptSet | None:
    """The newest version of the set called `reference`, else the version that it ends with."""
    if "\0" in reference:
        # No name holds it, and the database would refuse to look.
        return None
    name, _, version = reference.rpartition("@v")
    of_project = _kept(project_id)
    newest_first = of_project.order_by(PromptSet.version.desc()).limit(1)
    whole = session.scalar(newest_first.where(PromptSet.name == reference))
    if whole is not None or not _VERSION.fullmatch(version):
        return whole
    return session.scalar(
        of_project.where(PromptSet.name == name, PromptSet.version == int(version))
    )
