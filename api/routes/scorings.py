"""Scorings: try a reward on a few videos before a job is paid for."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, CatalogueDep, scope
from api.documents import JsonDocument
from api.once import answer_of, once
from api.openapi import posts, problems
from api.schemas.scorings import ScoringRequest, ScoringShape
from api.scoring_request import asked_scoring
from api.waiting import Glance, IfNoneMatch, answered, waits_for
from domain import db, ids, quotas, scorings
from domain.errors import NotFound
from domain.idempotency import Replay
from domain.scoring_table import TERMINAL, Scoring, ScoringStatus
from vader_core.catalogue import find_row

router = APIRouter(tags=["scorings"])

EXAMPLE: dict[str, Any] = {
    "videos": [
        {
            "upload": "upl_01kax4b7c8d9e0f1g2h3j4k5m6",
            "prompt": "a red circle moving left",
            "target": "moving left",
        },
        {
            "sample": "smp_01kax4b7c8d9e0f1g2h3j4k5m6",
            "prompt": "a blue square moving up",
            "target": "moving up",
        },
    ],
    "params": {},
}


@router.post(
    "/rewards/{reward_id}/score",
    status_code=202,
    response_model=ScoringShape,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(ScoringRequest, examples={"videos": EXAMPLE}, required=True),
    dependencies=[scope("jobs:write")],
)
def score_videos(
    request: Request,
    reward_id: str,
    caller: CallerDep,
    catalogue: CatalogueDep,
    document: JsonDocument,
) -> JSONResponse:
    """Try a reward (`id` or `id@version`) on at most 8 videos: uploads, or kept samples of jobs."""
    row = find_row(reward_id, catalogue.rewards)
    if row is None:
        raise NotFound(f"There is no reward {reward_id[:100]!r}.")

    def act(session: Session) -> Replay:
        asked = asked_scoring(session, caller.project_id, document, row)
        quotas.check_new_scoring(session, caller.project_id)
        made = scorings.create(
            session,
            asked,
            project_id=caller.project_id,
            created_by_key_id=caller.key_id,
            trace_id=request.state.trace_id,
        )
        shown = ScoringShape.of(made)
        return answer_of(shown, status_code=202, headers={"Location": shown.links.self})

    return once(request, caller, document, act)


def _glance(row: Scoring) -> Glance:
    return Glance(f'W/"{row.version}"', ended=ScoringStatus(row.status) in TERMINAL)


def _glimpse(session: Session, project_id: UUID, scoring_id: UUID) -> Glance:
    return _glance(scorings.get(session, project_id=project_id, scoring_id=scoring_id))


@router.get(
    "/scorings/{scoring_id}",
    response_model=ScoringShape,
    responses={304: {"description": "As `If-None-Match` names it."}, **problems(403, 404)},
    dependencies=[scope("jobs:read")],
)
def get_scoring(
    scoring_id: str,
    caller: CallerDep,
    waited_s: Annotated[int | None, Depends(waits_for("scoring_id", "scr", _glimpse))],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One scoring. Poll it with `If-None-Match` every `poll_after_s` seconds, or wait with `Prefer`."""
    with db.read() as session:
        row = scorings.get(
            session, project_id=caller.project_id, scoring_id=ids.from_public("scr", scoring_id)
        )
    return answered(
        _glance(row),
        lambda: ScoringShape.of(row),
        waited_s=waited_s,
        if_none_match=if_none_match,
    )
