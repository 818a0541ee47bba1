"""What a job has left behind so far: metrics, evaluations, attempts, checkpoints, samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from api.deps import CallerDep, SettingsDep, StoreDep, scope
from api.links import link_to
from api.openapi import problems
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.artifacts import (
    CheckpointDetail,
    CheckpointPage,
    CheckpointShape,
    SamplePage,
    SampleShape,
    sample_filename,
)
from api.schemas.history import (
    AttemptPage,
    AttemptShape,
    EvaluationRound,
    EvaluationShape,
    MetricsShape,
    Series,
)
from domain import artifacts, db, ids, job_deletion, jobs, metrics
from domain.callers import Caller

router = APIRouter(
    prefix="/jobs/{job_id}",
    tags=["jobs"],
    responses=problems(403, 404),
    dependencies=[scope("jobs:read")],
)


@contextmanager
def _of_job(caller: Caller, job_id: str) -> Iterator[tuple[Session, UUID]]:
    """A session to read what belongs to the caller's job. Raises `NotFound`."""
    job_uuid = ids.from_public("job", job_id)
    with db.read() as session:
        jobs.glimpse(session, project_id=caller.project_id, job_id=job_uuid)
        yield session, job_uuid


@router.get("/metrics")
def get_job_metrics(  # noqa: PLR0913 (the query's parameters)
    job_id: str,
    caller: CallerDep,
    keys: Annotated[
        list[str] | None, Query(alias="key", description="Only these metrics; may be repeated.")
    ] = None,
    x: Annotated[metrics.Axis, Query(description="What the curves are drawn over.")] = "step",
    start: Annotated[
        float | None, Query(alias="from", ge=0, description="Only points from here on, along `x`.")
    ] = None,
    end: Annotated[
        float | None, Query(alias="to", ge=0, description="Only points up to here, along `x`.")
    ] = None,
    max_points: Annotated[
        int, Query(ge=metrics.FEWEST_POINTS, le=5000, description="Of each metric.")
    ] = 500,
) -> MetricsShape:
    """The job's curves over steps, reward queries, GPU-seconds or seconds since the start.

    A curve of more than `max_points` points is thinned: the first and the last point stay, and the
    lowest and the highest of every stretch between them, so that no peak is lost.
    """
    stretch = metrics.Stretch(x, start, end)
    with _of_job(caller, job_id) as (session, job_uuid):
        found = metrics.curves(
            session, job_id=job_uuid, keys=keys, stretch=stretch, max_points=max_points
        )
    series = [Series.of(curve, x) for curve in found]
    return MetricsShape(
        job_id=job_id, x=x, series=series, downsampled=any(one.downsampled for one in series)
    )


@router.get("/evaluation")
def get_job_evaluation(job_id: str, caller: CallerDep) -> EvaluationShape:
    """Adapter against base on the held-out prompts: every evaluation so far, and the verdict."""
    with _of_job(caller, job_id) as (session, job_uuid):
        rows = artifacts.evaluations(session, job_id=job_uuid)
    rounds = [EvaluationRound.of(row) for row in rows]
    final = next((found for found in reversed(rounds) if found.kind == "final"), None)
    verdict = None if final is None else final.verdict
    return EvaluationShape(job_id=job_id, verdict=verdict, final=final, rounds=rounds)


@router.get("/attempts")
def list_job_attempts(job_id: str, caller: CallerDep) -> AttemptPage:
    """Every try of a worker at the job, first to latest."""
    with _of_job(caller, job_id) as (session, job_uuid):
        rows = artifacts.attempts(session, job_id=job_uuid)
    shown = [AttemptShape.of(row) for row in rows]
    return AttemptPage(data=shown, next_cursor=None, has_more=False)


@router.get("/checkpoints", responses=problems(400))
def list_job_checkpoints(
    request: Request,
    response: Response,
    job_id: str,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> CheckpointPage:
    """The job's checkpoints, newest first; the files of older ones are given up for newer ones."""
    with _of_job(caller, job_id) as (session, job_uuid):
        page = artifacts.checkpoints(session, job_id=job_uuid, cursor=cursor, limit=limit)
    link_next(request, response, cursor=page.next_cursor)
    shown = [CheckpointShape.of(row) for row in page.items]
    more = page.next_cursor is not None
    return CheckpointPage(data=shown, next_cursor=page.next_cursor, has_more=more)


@router.get("/checkpoints/{checkpoint_id}")
def get_job_checkpoint(job_id: str, checkpoint_id: str, caller: CallerDep) -> CheckpointDetail:
    """One checkpoint with the files that belong to it."""
    checkpoint_uuid = ids.from_public("ck", checkpoint_id)
    with _of_job(caller, job_id) as (session, job_uuid):
        row = artifacts.checkpoint(session, job_id=job_uuid, checkpoint_id=checkpoint_uuid)
    return CheckpointDetail.whole(row)


@router.get("/samples", responses=problems(410))
def list_job_samples(
    job_id: str,
    caller: CallerDep,
    store: StoreDep,
    settings: SettingsDep,
    step: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
    prompt_id: Annotated[str | None, Query(max_length=100)] = None,
) -> SamplePage:
    """Videos of held-out prompts, base and adapter under the same `pair`; 410 once the job was deleted."""
    with _of_job(caller, job_id) as (session, job_uuid):
        job_deletion.refuse_deleted(
            jobs.glimpse(session, project_id=caller.project_id, job_id=job_uuid)
        )
        rows = artifacts.samples(session, job_id=job_uuid, step=step, prompt_id=prompt_id)
    may_read = "artifacts:read" in caller.scopes
    shown = [
        SampleShape.of(
            row,
            link_to(store, settings, key=row.key, filename=sample_filename(row))
            if may_read
            else None,
        )
        for row in rows
    ]
    return SamplePage(data=shown, next_cursor=None, has_more=False)
