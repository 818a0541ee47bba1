"""The video of one sample."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from api.deps import CallerDep, SettingsDep, StoreDep, scope
from api.links import link_to, redirect_to
from api.openapi import problems
from api.schemas.artifacts import sample_filename
from domain import artifacts, db, ids, job_deletion, jobs

router = APIRouter(prefix="/samples", tags=["artifacts"])


@router.get(
    "/{sample_id}/video",
    status_code=302,
    response_class=RedirectResponse,
    responses=problems(403, 404, 410),
    dependencies=[scope("artifacts:read")],
)
def get_sample_video(
    sample_id: str, caller: CallerDep, store: StoreDep, settings: SettingsDep
) -> RedirectResponse:
    """302 to a link to the mp4 that needs no key and expires; 410 once its job was deleted."""
    with db.read() as session:
        row = artifacts.sample(
            session, project_id=caller.project_id, sample_id=ids.from_public("smp", sample_id)
        )
        job_deletion.refuse_deleted(
            jobs.glimpse(session, project_id=caller.project_id, job_id=row.job_id)
        )
    return redirect_to(link_to(store, settings, key=row.key, filename=sample_filename(row)))
