"""Jobs that are written as JSON without their model are what the model says."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from api import job_view
from api.schemas.jobs import JobShape, JobSummary
from domain import db, job_reading
from domain.job_errors import JobError
from domain.job_status import Status
from tests import lives, trainer_lines
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


LIVES: dict[str, Callable[[], UUID]] = {
    "queued": lambda: lives.waiting().id,
    "running": trained,
    "paused": paused,
    "failed": failed,
    "succeeded": lambda: lives.succeeded().id,
    "cancelled": lambda: lives.cancel(lives.waiting().id).id,
}


@pytest.mark.parametrize("life", LIVES)
def test_a_polled_job_is_written_as_its_model_would_write_it(
    life: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = lives.now(LIVES[life]())
    moment = db.utc_now()
    monkeypatch.setattr(job_view, "utc_now", lambda: moment)
    with db.read() as session:
        alone = job_reading.one(session, project_id=job.project_id, job_id=job.id)
    polled, specs = reading(
        lambda reads: job_reading.look(reads, project_id=job.project_id, job_id=job.id)
    )
    written = json.loads(job_view.whole_json(polled, specs))
    assert written == job_view.whole(alone).model_dump(mode="json")
    assert JobShape.model_validate(written).status == job.status == life
    listed = json.loads(job_view.summary_json(polled))
    assert JobSummary.model_validate(listed).model_dump(mode="json") == listed
    assert set(written) - set(listed) == {"spec", "resolved_spec"}
