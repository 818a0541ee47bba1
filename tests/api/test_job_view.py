"""Jobs that are written as JSON without their model are what the model says."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import select

from api import job_view
from api.schemas.jobs import JobShape, JobSummary
from domain import db, job_deletion, job_reading
from domain.job_errors import JobError
from domain.job_status import Status
from domain.tables import ApiKey, Job
from tests import factories, lives, trainer_lines
from tests.reads import reading

pytestmark = pytest.mark.usefixtures("settings")


def trained() -> UUID:
    claim = lives.training(
        labels={"team": "größe"}, budget={"max_steps": 20, "max_gpu_seconds": 90.0}
    )
    lives.told(claim, trainer_lines.step(1), trainer_lines.evaluation(kind="periodic", reward=0.6))
    lives.checkpointed(claim, [1])
    return claim.job_id


def failed() -> UUID:
    error = JobError(code="internal", message='It said "no".', hint="Look at the log.")
    return lives.ended(lives.training(), Status.FAILED, error=error).id


def paused() -> UUID:
    return lives.paused(lives.training()).id


def pausing() -> UUID:
    return lives.asked_to_pause(lives.training().job_id).id


def cancelling() -> UUID:
    return lives.cancel(lives.training().job_id).id


def deleted() -> UUID:
    job = lives.succeeded()
    with db.transaction() as session:
        job_deletion.delete(session, project_id=job.project_id, job_id=job.id)
    return job.id


def with_everything() -> UUID:
    """What only some jobs have, and texts and numbers that are easily written wrongly."""
    job = lives.succeeded()
    with db.transaction() as session:
        factories.key(session, job.project_id)
        session.flush()
        row = session.get_one(Job, job.id)
        row.created_by_key_id = session.scalars(select(ApiKey.id)).one()
        row.init_from = {"kind": "checkpoint", "id": "ck_x", "state": "full", "step": 3}
        row.init_from |= {"job_id": "job_x", "prefix": "z"}
        row.parent_kind, row.template = "retry", "tpl_a@2"
        row.notify = {"events": ["job.failed"]}
        row.name, row.labels = "n\u0001 \U0001f600", {"ü": '\u2028</script>"\\'}
        row.queue_expires_at = row.deadline_at = row.created_at.replace(microsecond=0)
        row.latest_metrics = {"seconds": 1e-300, "loss": 1e300, "x": -0.0, "y": 10**29}
    return job.id


LIVES: dict[str, tuple[Status, Callable[[], UUID]]] = {
    "queued": (Status.QUEUED, lambda: lives.waiting().id),
    "running": (Status.RUNNING, trained),
    "pausing": (Status.PAUSING, pausing),
    "paused": (Status.PAUSED, paused),
    "cancelling": (Status.CANCELLING, cancelling),
    "finalizing": (Status.FINALIZING, lambda: lives.finalizing().job_id),
    "failed": (Status.FAILED, failed),
    "succeeded": (Status.SUCCEEDED, lambda: lives.succeeded().id),
    "cancelled": (Status.CANCELLED, lambda: lives.cancel(lives.waiting().id).id),
    "deleted": (Status.SUCCEEDED, deleted),
    "everything": (Status.SUCCEEDED, with_everything),
}


@pytest.mark.parametrize("life", LIVES)
def test_a_polled_job_is_written_as_its_model_would_write_it(
    life: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, live = LIVES[life]
    job = lives.now(live())
    moment = db.utc_now()
    monkeypatch.setattr(job_view, "utc_now", lambda: moment)
    with db.read() as session:
        alone = job_reading.one(session, project_id=job.project_id, job_id=job.id)
    polled, specs = reading(
        lambda reads: job_reading.look(reads, project_id=job.project_id, job_id=job.id),
        tenant=job.project_id,
    )
    written = json.loads(job_view.whole_json(polled, specs))
    assert written == job_view.whole(alone).model_dump(mode="json")
    assert JobShape.model_validate(written).status == job.status == status
    listed = json.loads(job_view.summary_json(polled))
    assert JobSummary.model_validate(listed).model_dump(mode="json") == listed
    assert set(written) - set(listed) == {"spec", "resolved_spec"}
