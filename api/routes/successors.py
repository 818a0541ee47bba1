"""Jobs that follow an ended one: retry, extend, and a checkpoint that becomes an adapter."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api import adapter_view, expectations, job_view
from api.deps import CallerDep, CatalogueDep, scope
from api.documents import JsonDocument, checked
from api.once import answer_of, once
from api.openapi import posts, problems
from api.retry_request import asked_retry
from api.schemas.adapters import AdapterShape
from api.schemas.job_requests import ExtensionRequest
from api.schemas.jobs import JobShape, NoSettings
from api.successor_request import resolved_extension
from domain import audit, ids, job_reading, jobs, promotion, quotas, successors
from domain.callers import Caller
from domain.idempotency import Replay
from domain.successors import Retrial
from domain.tables import Job

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])

RETRIALS: dict[str, dict[str, str | None]] = {
    "as_it_was": {},
    "later": {"deadline_at": "2026-12-24T18:00:00Z"},
    "without_deadline": {"deadline_at": None},
}
EXTENSIONS = {
    "full_state": {
        "from": "best",
        "state": "full",
        "add_budget": {"max_steps": 200, "max_gpu_seconds": 28800},
        "overrides": {"method": {"learning_rate": 0.00005}},
        "name": "shapes-that-move-b",
        "expect": {"max_estimated_cost": {"amount": "20.00", "currency": "USD"}},
    },
    "weights": {"from": "last", "state": "weights", "overrides": {"seed": 7}},
}


@router.post(
    "/retry",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(Retrial, examples=RETRIALS, required=False),
    dependencies=[scope("jobs:write")],
)
def retry_job(
    request: Request,
    job_id: str,
    caller: CallerDep,
    catalogue: CatalogueDep,
    document: JsonDocument,
) -> JSONResponse:
    """Make a new job that goes on where a failed one stopped: same spec, its newest checkpoint's full state.

    Without a checkpoint it begins anew, if its error is `retryable`. What was used up to the checkpoint
    counts. A deadline that has passed is replaced, or taken away by null. After it ran out of memory on every
    GPU that is there, it is refused until a larger one comes.
    """

    def act(session: Session) -> Replay:
        failed = successors.source(
            session, project_id=caller.project_id, job_id=ids.from_public("job", job_id)
        )
        asked = asked_retry(session, caller.project_id, failed, document, catalogue)
        origin = caller.origin(request.state.trace_id)
        made = successors.retry(session, failed, origin=origin, asked=asked)
        return _answer(session, caller, "job.retry", failed, made)

    return once(request, caller, document, act)


@router.post(
    "/extend",
    status_code=202,
    response_model=JobShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(ExtensionRequest, examples=EXTENSIONS, required=False),
    dependencies=[scope("jobs:write")],
)
def extend_job(
    request: Request,
    job_id: str,
    caller: CallerDep,
    catalogue: CatalogueDep,
    document: JsonDocument,
) -> JSONResponse:
    """Make a new job that goes on from what an ended one left, so that finished results never change.

    With state `full` its steps and counters go on from the checkpoint's: `add_budget` is what may be used
    beyond. The learning rate, its schedule and how often is evaluated may change then; with state `weights`
    everything but the base model and the adapter's shape may, and all counts begin at 0. `expect` binds it
    as it binds a new job.
    """

    def act(session: Session) -> Replay:
        ended = successors.source(
            session, project_id=caller.project_id, job_id=ids.from_public("job", job_id)
        )
        asked = resolved_extension(session, caller.project_id, ended, document, catalogue)
        estimate = expectations.meet(session, asked, catalogue)
        need = successors.extended_need(session, ended, asked.spec, estimate)
        quotas.check_new_job(session, caller.project_id)
        made = jobs.create(
            session,
            spec=asked.spec,
            asked_spec=asked.document,
            origin=caller.origin(request.state.trace_id),
            ties=asked.ties,
            need=need,
        )
        return _answer(session, caller, "job.extend", ended, made)

    return once(request, caller, document, act)


@router.post(
    "/checkpoints/{checkpoint_id}/promote",
    status_code=201,
    response_model=AdapterShape,
    responses={
        200: {"model": AdapterShape, "description": "It was promoted before."},
        **problems(400, 403, 404, 409, 410, 413, 415),
    },
    openapi_extra=posts(NoSettings, examples={"nothing": {}}, required=False),
    dependencies=[scope("adapters:write")],
)
def promote_checkpoint(
    request: Request, job_id: str, checkpoint_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """Make what a job had learned by a checkpoint an adapter of the registry. 200 where it is one already.

    Its files stay when the checkpoint is given up for newer ones.
    """

    def act(session: Session) -> Replay:
        checked(document, NoSettings)
        adapter, is_new = promotion.promote(
            session,
            project_id=caller.project_id,
            job_id=ids.from_public("job", job_id),
            checkpoint_id=ids.from_public("ck", checkpoint_id),
        )
        shown = adapter_view.whole(session, adapter)
        if is_new:
            details = {"checkpoint": checkpoint_id, "adapter": shown.id}
            audit.record(
                session, caller, action="checkpoint.promote", target=job_id, details=details
            )
        headers = {"Location": f"/v1/adapters/{shown.id}"}
        return answer_of(shown, status_code=201 if is_new else 200, headers=headers)

    return once(request, caller, document, act)


def _answer(session: Session, caller: Caller, action: str, source: Job, made: Job) -> Replay:
    seen = job_reading.one(session, project_id=made.project_id, job_id=made.id)
    shown = job_view.whole(seen)
    target = ids.to_public("job", source.id)
    audit.record(session, caller, action=action, target=target, details={"job": shown.id})
    return answer_of(shown, status_code=202, headers={"Location": shown.links.self})
