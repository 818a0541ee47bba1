"""Jobs side by side."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from anyio import to_thread
from fastapi import Query, Response

from api.openapi import problems
from api.polled import OR_COOKIE, guard, polled_router
from api.problems import InputFault, InvalidParameters
from api.schemas.compare import ComparisonShape
from domain import compare, db, ids, metrics
from domain.callers import Caller
from domain.compare_at import HELDOUT

polled = polled_router()


@polled.get(
    "/jobs/compare",
    tags=["jobs"],
    response_model=ComparisonShape,
    responses=problems(403, 404),
    openapi_extra=OR_COOKIE,
)
async def compare_jobs(
    caller: Annotated[Caller, guard("jobs:read")],
    job_ids: Annotated[
        str,
        Query(
            alias="ids",
            max_length=1000,
            description="Two to eight jobs, separated by commas. The first is the one that the others "
            "are compared with.",
            examples=["job_01kax4b7c8d9e0f1g2h3j4k5m6,job_01kax4b7c8d9e0f1g2h3j4k5m7"],
        ),
    ],
    key: Annotated[
        str,
        Query(
            min_length=1,
            max_length=300,
            description="The metric. With `heldout_reward`, or `heldout_reward.REWARD` for one "
            "reward of the sum, differences come with intervals.",
        ),
    ] = HELDOUT,
    x: Annotated[
        metrics.Axis,
        Query(description="What is spent alike. Equal reward queries are not equal GPU time."),
    ] = "reward_queries",
    max_points: Annotated[
        int, Query(ge=metrics.FEWEST_POINTS, le=5000, description="Of each series.")
    ] = 500,
) -> Response:
    """How jobs differ in what was asked for, what they had reached by equal spending, and whether that can
    be believed.

    Two jobs over the same held-out prompts and seeds are compared video by video, by the statistics of
    the verdict. `comparable` is false, with its `reasons`, where base model, videos, rewards, seeds or
    held-out prompts are not the same.
    """
    wanted = [ids.from_public("job", job_id) for job_id in _wanted(job_ids)]

    def compared() -> ComparisonShape:
        with db.read() as session:
            found = compare.compare(
                session,
                project_id=caller.project_id,
                job_ids=wanted,
                key=key,
                x=x,
                max_points=max_points,
            )
            return ComparisonShape.of(found, key=key, x=x)

    shape = await to_thread.run_sync(compared)
    return Response(shape.model_dump_json(), media_type="application/json")


def _wanted(job_ids: str) -> list[str]:
    """The jobs that the parameter names. Raises `InvalidParameters`."""
    wanted = [job_id.strip() for job_id in job_ids.split(",")]
    twice = [job_id for job_id, count in Counter(wanted).items() if count > 1]
    faults = []
    if not compare.FEWEST_JOBS <= len(wanted) <= compare.MOST_JOBS:
        detail = f"{compare.FEWEST_JOBS} to {compare.MOST_JOBS} jobs; got {len(wanted)}."
        faults.append(("out_of_range", detail))
    if twice:
        faults.append(("duplicate", f"Named more than once: {', '.join(map(repr, twice))}."))
    if faults:
        raise InvalidParameters(
            [
                InputFault(parameter="ids", location="query", code=code, detail=detail)
                for code, detail in faults
            ]
        )
    return wanted
