"""A prompt set that was sent, checked in every respect at once."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue, ValidationError
from sqlalchemy.orm import Session

from api.documents import storage_faults
from api.image_faults import image_faults
from api.problems import InputFault, InvalidParameters
from api.prompt_bodies import PromptBody
from api.schemas.prompt_sets import PromptSetRequest
from domain import prompt_sets
from domain.errors import ValidationFailed
from domain.prompt_report import PromptReport, Read, report_of
from vader_core.catalogue import BaseModelRow, Catalogue, find_row
from vader_core.faults import Fault, shape_faults
from vader_core.resolve import both_sides_faults
from vader_core.row_faults import unknown_row
from vader_core.spec import Prompt

MOST_FAULTS = 1000


@dataclass(frozen=True)
class Checked:
    """A sound prompt set and what was found in it."""

    name: str
    prompts: list[Prompt]
    report: PromptReport


def checked_prompt_set(
    session: Session, project_id: UUID, body: PromptBody, row: BaseModelRow | None
) -> Checked:
    """The prompt set that `body` holds, with its report.

    Raises `ValidationFailed` with every fault there is (the first 1,000, and how many more). The images
    that it names cannot be deleted before the session's transaction ends.
    """
    document: JsonValue = {} if body.document is None else body.document
    given = document.get("prompts") if isinstance(document, dict) else None
    items = given if isinstance(given, list) else []
    faults = [
        *storage_faults(document),
        *image_faults(session, project_id=project_id, prompts=given, pointer="/prompts"),
        *_both_sides(items),
    ]
    asked = None
    try:
        asked = PromptSetRequest.model_validate(document)
    except ValidationError as error:
        faults = [*shape_faults(error, document), *faults]
    if body.faults:
        # Lines that could not be read are prompts too: without them the list may look empty.
        faults = [fault for fault in faults if fault.pointer != "/prompts"]
    faults = [*body.faults, *(_placed(fault, body) for fault in faults)]
    if faults or asked is None:
        raise ValidationFailed(_in_order(faults), what="prompt set")
    pointers = body.pointers or [f"/prompts/{index}" for index in range(len(asked.prompts))]
    report = report_of(
        Read(asked.prompts, pointers, tuple(body.empty_lines)),
        base_model=row,
        predecessor=prompt_sets.newest(session, project_id=project_id, name=asked.name),
    )
    return Checked(asked.name, asked.prompts, report)


def base_model_row(name: str | None, catalogue: Catalogue) -> BaseModelRow | None:
    """The base model that the parameter `base_model` names. Raises `InvalidParameters`."""
    if name is None:
        return None
    row = find_row(name, catalogue.base_models)
    if row is None:
        fault = unknown_row("base model", name, catalogue.base_models, "/base_model")
        raise InvalidParameters(
            [
                InputFault(
                    parameter="base_model",
                    location="query",
                    **fault.model_dump(include={"code", "detail", "nearest"}),
                )
            ]
        )
    return row


def _both_sides(items: list[JsonValue]) -> list[Fault]:
    """Sound prompts that are marked for both sides, however wrong others are."""
    sound: list[Prompt] = []
    places: list[str] = []
    for index, item in enumerate(items):
        try:
            sound.append(Prompt.model_validate(item))
        except ValidationError:
            # What is wrong with it is told by the check of the whole.
            continue
        places.append(f"/prompts/{index}/heldout")
    return [
        fault.model_copy(update={"pointer": places[int(fault.pointer.split("/")[1])]})
        for fault in both_sides_faults(sound, "")
    ]


def _placed(fault: Fault, body: PromptBody) -> Fault:
    """`fault` with the pointer into what was sent, for a body that was read by lines."""
    root, _, place = fault.pointer.removeprefix("/").partition("/")
    index, _, rest = place.partition("/")
    if body.pointers is None or body.lines is None or root != "prompts" or not index:
        return fault
    pointer = body.pointers[int(index)] + (f"/{rest}" if rest else "")
    return fault.model_copy(update={"pointer": pointer, "line": body.lines[int(index)]})


def _in_order(faults: list[Fault]) -> list[Fault]:
    """The faults by line, no more than anybody can read."""
    ordered = sorted(faults, key=lambda fault: fault.line or 0)
    more = len(ordered) - MOST_FAULTS
    if more <= 0:
        return ordered
    detail = f"There are {more} more faults. Correct these first."
    return [*ordered[:MOST_FAULTS], Fault(pointer="", code="more_faults", detail=detail)]
