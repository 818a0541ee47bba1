"""A retry of a job as it is asked for, checked in every respect at once."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue
from sqlalchemy.orm import Session

from api.documents import checked
from api.job_request import resolved_request
from api.merged_faults import as_sent
from domain import successors
from domain.errors import ValidationFailed
from domain.successors import Retrial
from domain.tables import Job
from vader_core.catalogue import Catalogue

_DEADLINE = "/budget/deadline_at"


def asked_retry(
    session: Session, project_id: UUID, job: Job, document: JsonValue, catalogue: Catalogue
) -> Retrial:
    """What `document` asks for, once all that the spec of `job` names is known still to be there.

    Raises `ValidationFailed` with every fault, at pointers into `document`: for example first images that
    were deleted, and a deadline that has passed.
    """
    asked = checked(document, Retrial)
    wanted = successors.retried_document(job, asked)
    try:
        resolved_request(session, project_id, wanted, catalogue, hold=True)
    except ValidationFailed as failed:
        told = [
            fault.model_copy(update={"pointer": "/deadline_at"})
            for fault in failed.faults
            if fault.pointer == _DEADLINE
        ]
        rest = [fault for fault in failed.faults if fault.pointer != _DEADLINE]
        told += as_sent(rest, patch={}, at="", otherwise="", whose="the job's spec")
        raise ValidationFailed(told, what="retry") from failed
    return asked
