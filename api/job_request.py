"""A document that asks for a job, checked in every respect at once."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue, ValidationError
from sqlalchemy.orm import Session

from api.documents import storage_faults
from api.image_faults import image_faults
from domain import budgets, prompt_sets
from domain.db import utc_now
from domain.errors import ValidationFailed
from domain.tables import Json
from vader_core.catalogue import Catalogue
from vader_core.faults import Fault, InvalidSpec
from vader_core.resolve import check
from vader_core.spec import Budget, JobSpec, Prompt


def resolved_spec(
    session: Session, project_id: UUID, document: JsonValue, catalogue: Catalogue
) -> tuple[Json, JobSpec]:
    """What was asked for, and the same with every default filled in.

    Raises `ValidationFailed` with every fault there is. Reads, and stores nothing.
    """

    def load_prompts(reference: str) -> list[Prompt] | None:
        return prompt_sets.load(session, project_id=project_id, reference=reference)

    asked: JsonValue = {} if document is None else document
    faults = [
        *storage_faults(asked),
        *_budget_faults(asked),
        *_image_faults(session, project_id, asked),
    ]
    spec = None
    try:
        spec = check(asked, catalogue, load_prompts)
    except InvalidSpec as error:
        faults = [*error.faults, *faults]
    if faults or spec is None or not isinstance(asked, dict):
        raise ValidationFailed(faults, what="job spec")
    return asked, spec


def _image_faults(session: Session, project_id: UUID, asked: JsonValue) -> list[Fault]:
    """The inline prompts' images; those of a prompt set were looked at when it was made."""
    prompts = asked.get("prompts") if isinstance(asked, dict) else None
    inline = prompts.get("inline") if isinstance(prompts, dict) else None
    return image_faults(session, project_id=project_id, prompts=inline, pointer="/prompts/inline")


def _budget_faults(asked: JsonValue) -> list[Fault]:
    """What is wrong with a well-formed budget at this time, however wrong the rest of the spec is."""
    try:
        budget = Budget.model_validate(asked.get("budget") if isinstance(asked, dict) else None)
    except ValidationError:
        # What is wrong with its form is told by the check of the whole.
        return []
    return budgets.faults(budget, now=utc_now())
