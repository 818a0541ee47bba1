"""An extension of a job as it is asked for, checked in every respect at once."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy.orm import Session

from api.documents import checked
from api.job_request import AskedJob, resolved_request
from api.merged_faults import as_sent
from api.schemas.job_requests import ExtensionRequest, Wishes
from domain import successors
from domain.errors import ValidationFailed
from domain.tables import Job
from vader_core.catalogue import Catalogue
from vader_core.faults import Fault

# Where the extension says what the new job's document has at these pointers.
_SAID_AT = {"/budget": "/add_budget", "/init_from": "/from", "/name": "/name"}


def resolved_extension(
    session: Session, project_id: UUID, job: Job, document: JsonValue, catalogue: Catalogue
) -> AskedJob:
    """The job that extends `job` as `document` asks; what it starts from is held.

    Raises `ValidationFailed` with every fault, at pointers into `document`, and `InvalidTransition`.
    """
    asked = checked(document, ExtensionRequest)
    extended = successors.extension(session, job, asked)
    faults = list(extended.faults)
    given = asked.model_fields_set & Wishes.model_fields.keys()
    whole = {**extended.document, **asked.model_dump(mode="json", include=given)}
    try:
        made = resolved_request(session, project_id, whole, catalogue, hold=True)
    except ValidationFailed as failed:
        faults += _as_asked(failed.faults, asked)
        raise ValidationFailed(faults, what="extension") from failed
    if faults:
        raise ValidationFailed(faults, what="extension")
    notify = made.ties.notify if "notify" in given else job.notify
    ties = successors.ties_of(job, "extend", made.ties.init_from)
    return dataclasses.replace(made, ties=dataclasses.replace(ties, notify=notify))


def _as_asked(faults: list[Fault], asked: ExtensionRequest) -> list[Fault]:
    told: list[Fault] = []
    rest: list[Fault] = []
    for fault in faults:
        if fault.pointer.split("/")[1:2] in [[name] for name in Wishes.model_fields]:
            told.append(fault)
            continue
        place = next((p for p in _SAID_AT if f"{fault.pointer}/".startswith(f"{p}/")), None)
        if place is None:
            rest.append(fault)
        else:
            below = "" if place == "/init_from" else fault.pointer.removeprefix(place)
            told.append(fault.model_copy(update={"pointer": f"{_SAID_AT[place]}{below}"}))
    return [
        *told,
        *as_sent(
            rest, patch=asked.overrides, at="/overrides", otherwise="", whose="the job's spec"
        ),
    ]
