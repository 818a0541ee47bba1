"""What can be asked of jobs: cancel, pause, resume, and cancel many at once; and the table of all that."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api import job_filters, job_view
from api.deps import CallerDep, scope
from api.documents import JsonDocument, checked
from api.once import answer_of, once
from api.openapi import posts, problems
from api.schemas.jobs import (
    BatchCancelled,
    BatchCancelRequest,
    CancelledJob,
    CancelRequest,
    JobShape,
    JobTransitions,
    NoSettings,
)
from domain import audit, batch_cancel, ids, job_reading, jobs, pausing
from domain.callers import Caller
from domain.errors import NotFound, ValidationFailed
from domain.idempotency import Replay
from domain.job_status import TERMINAL, TRANSITIONS, Status, allowed_actions
from domain.tables import Job, Json
from vader_core.faults import Fault

router = APIRouter(prefix="/jobs", tags=["jobs"])
table_router = APIRouter(tags=["jobs"])


@table_router.get("/job-transitions", dependencies=[scope("jobs:read")])
def get_job_transitions() -> JobTransitions:
    """The states of a job, where each may lead, and what may be asked of a job in it.

    `allowed_actions` of a job says the same for that job, and leaves out what it has nothing for.
    """
    return JobTransitions(
        transitions={status: sorted(ways) for status, ways in TRANSITIONS.items()},
        terminal=sorted(TERMINAL),
        actions={status: allowed_actions(status) for status in Status},
    )


@router.post(
    "/batch-cancel",
    status_code=202,
    response_model=BatchCancelled,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(
        BatchCancelRequest,
        examples={
            "filter": {
                "filter": {"status": ["queued"], "labels": {"team": "ads"}},
                "expected_count": 3,
            },
            "ids": {"ids": ["job_01kax4b7c8d9e0f1g2h3j4k5m6"], "expected_count": 1},
        },
        required=True,
    ),
    dependencies=[scope("jobs:write")],
)
def cancel_jobs(request: Request, caller: CallerDep, document: JsonDocument) -> JSONResponse:
    """Cancel many jobs. Refused with 409 and the true `count` unless exactly `expected_count` would be met."""

    def act(session: Session) -> Replay:
        asked = checked(document, BatchCancelRequest)
        cancelled = batch_cancel.batch_cancel(
            session,
            project_id=caller.project_id,
            which=_ids(asked.ids) if asked.filter is None else job_filters.of_body(asked.filter),
            expected_count=asked.expected_count,
            keep_adapter=asked.keep_adapter,
        )
        shown = [
            CancelledJob(id=ids.to_public("job", job.id), status=Status(job.status))
            for job in cancelled
        ]
        details: Json = {"jobs": [job.id for job in shown], "keep_adapter": asked.keep_adapter}
        audit.record(session, caller, action="job.batch_cancel", details=details)
        body = BatchCancelled(count=len(shown), jobs=shown)
        return answer_of(body, status_code=202, headers={})

    return once(request, caller, document, act)


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(
        CancelRequest, examples={"keep_adapter": {"keep_adapter": True}}, required=False
    ),
    dependencies=[scope("jobs:write")],
)
def cancel_job(
    request: Request, job_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """Cancel a job. It is over at once while it waits or is paused, within seconds while it runs.

    Cancelling again changes nothing. What the newest checkpoint holds becomes its adapter unless
    `keep_adapter` is false.
    """

    def act(session: Session) -> Replay:
        keep = checked(document, CancelRequest).keep_adapter
        where = {"project_id": caller.project_id, "job_id": ids.from_public("job", job_id)}
        job = jobs.request_cancel(session, **where, keep_adapter=keep)
        return _done(session, caller, job, "job.cancel", {"keep_adapter": keep})

    return once(request, caller, document, act)


@router.post(
    "/{job_id}/pause",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(NoSettings, examples={"pause": {}}, required=False),
    dependencies=[scope("jobs:write")],
)
def pause_job(
    request: Request, job_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """Pause a job: at once while it waits, after the step and a checkpoint while it runs. Its GPU is freed.

    A job that nobody resumes is ended at `pause.expires_at` with what it has reached.
    """
    return _plain(request, caller, document, job_id, pausing.request, "job.pause")


@router.post(
    "/{job_id}/resume",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(NoSettings, examples={"resume": {}}, required=False),
    dependencies=[scope("jobs:write")],
)
def resume_job(
    request: Request, job_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """Queue a paused job again. It goes on from its newest checkpoint, its counters as they were.

    409 `ceiling_reached` where its budget says to pause at a ceiling that was not raised since.
    """
    return _plain(request, caller, document, job_id, pausing.resume, "job.resume")


def _plain(
    request: Request,
    caller: Caller,
    document: JsonDocument,
    job_id: str,
    ask: Callable[..., Job],
    action: str,
) -> JSONResponse:
    """An action without settings."""

    def act(session: Session) -> Replay:
        checked(document, NoSettings)
        wanted = ids.from_public("job", job_id)
        job = ask(session, project_id=caller.project_id, job_id=wanted)
        return _done(session, caller, job, action, {})

    return once(request, caller, document, act)


def _done(session: Session, caller: Caller, job: Job, action: str, details: Json) -> Replay:
    target = ids.to_public("job", job.id)
    audit.record(session, caller, action=action, target=target, details=details)
    seen = job_reading.one(session, project_id=job.project_id, job_id=job.id)
    return answer_of(job_view.whole(seen), status_code=202, headers={})


def _ids(public_ids: list[str] | None) -> list[UUID]:
    found, wrong = [], []
    for index, public_id in enumerate(public_ids or []):
        try:
            found.append(ids.from_public("job", public_id))
        except NotFound:
            detail = "This is no id of a job."
            wrong.append(Fault(pointer=f"/ids/{index}", code="not_found", detail=detail))
    if wrong:
        raise ValidationFailed(wrong)
    return found
