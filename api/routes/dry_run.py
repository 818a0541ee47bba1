"""The dry run: what a job would be and take, before it is made."""

from __future__ import annotations

from fastapi import APIRouter

from api import dry_run_view, expectations
from api.deps import CallerDep, CatalogueDep, scope
from api.documents import JsonDocument
from api.job_request import resolved_request
from api.openapi import problems, takes
from api.routes.jobs import EXAMPLES
from api.schemas.dry_runs import DryRun
from api.schemas.job_requests import JobRequest
from domain import db, estimates, job_warnings, quotas

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post(
    "/dry-run",
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=takes(JobRequest, examples=EXAMPLES),
    dependencies=[scope("jobs:write")],
)
def dry_run_job(caller: CallerDep, catalogue: CatalogueDep, document: JsonDocument) -> DryRun:
    """See what the same body sent to `POST /v1/jobs` would make, without making it.

    Nothing is stored and nothing is spent, so no Idempotency-Key is needed. The spec comes back with every
    default filled in, with estimates that say how they are known, and with warnings; what would be refused
    is refused here in the same way. To bind the job to this answer, send its `spec_hash` along as
    `expect.spec_hash`, and `expect.max_estimated_cost` if you like.
    """
    with db.read() as session:
        asked = resolved_request(session, caller.project_id, document, catalogue, hold=False)
        found = estimates.estimate(session, asked.resolved, catalogue, now=db.utc_now())
        expectations.meet_estimate(asked, found)
        return dry_run_view.whole(
            asked,
            found,
            quota=dry_run_view.quota(
                quotas.state(session, caller.project_id),
                reason=quotas.waiting_reason(session, caller.project_id),
                wait=found.queue_wait_s,
            ),
            warnings=job_warnings.warnings(asked.resolved, found),
        )
