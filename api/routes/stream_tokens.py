"""Stream tokens: live streams for browsers, whose `EventSource` sends no `Authorization`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, scope
from api.documents import JsonDocument, checked
from api.once import answer_of, once
from api.openapi import posts, problems
from api.schemas.stream_tokens import StreamTokenRequest, StreamTokenShape
from domain import ids, jobs, stream_tokens
from domain.idempotency import Replay

router = APIRouter(prefix="/stream-tokens", tags=["events"])

EXAMPLES: dict[str, dict[str, Any]] = {
    "project": {},
    "job": {"job": "job_01kax4b7c8d9e0f1g2h3j4k5m6"},
}


@router.post(
    "",
    status_code=201,
    response_model=StreamTokenShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(StreamTokenRequest, examples=EXAMPLES, required=False),
    dependencies=[scope("jobs:read")],
)
def create_stream_token(
    request: Request, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """A token that opens streams for five minutes, as `?token=` of `GET /v1/events`,
    `GET /v1/jobs/{id}/events` and `GET /v1/jobs/{id}/logs`: all of the project's, or those of one job.

    It can do no more than whoever asked for it. A stream that is open stays open when its token expires,
    and ends with the key or session that made it.
    """
    wanted = checked(document, StreamTokenRequest)

    def act(session: Session) -> Replay:
        job_id = None if wanted.job is None else ids.from_public("job", wanted.job)
        if job_id is not None:
            jobs.glimpse(session, project_id=caller.project_id, job_id=job_id)
        token = stream_tokens.issue(caller, job_id=job_id)
        shown = StreamTokenShape(token=token.text, job=wanted.job, expires_at=token.expires_at)
        return answer_of(shown, status_code=201, headers={}, unstored=("token",))

    return once(request, caller, document, act)
