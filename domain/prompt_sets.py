"""Prompt sets: named lists of prompts. A version never changes; the same name again is a new version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from domain.errors import NotFound
from domain.ids import from_public, new_id, to_public
from domain.pages import Page, page
from domain.tables import Project, PromptSet
from vader_core.spec import Prompt


def create(
    session: Session,
    *,
    project_id: UUID,
    name: str,
    prompts: Sequence[Prompt],
    created_by_key_id: UUID | None = None,
) -> PromptSet:
    """The next version of the prompt set `name`."""
    # Two that make a version of the same name at once would take the same number.
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update())
    newest = select(func.coalesce(func.max(PromptSet.version), 0)).where(
        PromptSet.project_id == project_id, PromptSet.name == name
    )
    items = [prompt.model_dump(mode="json", exclude_none=True) for prompt in prompts]
    text = json.dumps(items, sort_keys=True, separators=(",", ":"))
    made = PromptSet(
        id=new_id(),
        project_id=project_id,
        name=name,
        version=session.scalars(newest).one() + 1,
        items=items,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        created_by_key_id=created_by_key_id,
    )
    session.add(made)
    # The answer shows created_at, which the database sets.
    session.flush()
    return made


def get(session: Session, *, project_id: UUID, prompt_set_id: UUID) -> PromptSet:
    """The prompt set. Raises `NotFound`, also for another project's."""
    found = session.get(PromptSet, prompt_set_id)
    if found is None or found.project_id != project_id:
        raise NotFound(
            f"There is no prompt set {to_public('ps', prompt_set_id)!r} in this project."
        )
    return found


def list_sets(
    session: Session, *, project_id: UUID, cursor: str | None, limit: int
) -> Page[PromptSet]:
    """The project's prompt sets, newest first."""
    return page(
        session,
        select(PromptSet).where(PromptSet.project_id == project_id),
        keys=(PromptSet.created_at, PromptSet.id),
        filtered_by=f"prompt_sets {project_id}",
        cursor=cursor,
        limit=limit,
    )


def load(session: Session, *, project_id: UUID, reference: str) -> list[Prompt] | None:
    """The prompts of the set that a spec names as "ps_..." or "ps_...@v2", None when there is none."""
    public_id, _, version = reference.partition("@")
    try:
        found = get(session, project_id=project_id, prompt_set_id=from_public("ps", public_id))
    except NotFound:
        return None
    if version not in {"", f"v{found.version}"}:
        return None
    return [Prompt.model_validate(item) for item in found.items]
