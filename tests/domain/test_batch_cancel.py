from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from domain import batch_cancel, db
from domain.errors import CountMismatch, ValidationFailed
from domain.job_list import JobFilters
from domain.tables import Job
from tests import factories, lives

pytestmark = pytest.mark.usefixtures("settings")


def make(count: int, **changes: object) -> tuple[UUID, list[UUID]]:
    """A project with `count` queued jobs."""
    with db.transaction() as session:
        project_id = factories.project(session).id
        return project_id, [factories.job(session, project_id, **changes).id for _ in range(count)]


def cancelled(project_id: UUID, which: list[UUID] | JobFilters, count: int) -> list[Job]:
    with db.transaction() as session:
        return batch_cancel.batch_cancel(
            session, project_id=project_id, which=which, expected_count=count
        )


def states(job_ids: list[UUID]) -> list[str]:
    return [lives.now(job_id).status for job_id in job_ids]


def test_as_many_as_expected_are_cancelled() -> None:
    project_id, job_ids = make(3)
    assert [job.status for job in cancelled(project_id, job_ids[:2], 2)] == ["cancelled"] * 2
    assert states(job_ids) == ["cancelled", "cancelled", "queued"]


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_with_a_wrong_count_none_is_and_the_true_one_is_told(expected: int) -> None:
    project_id, job_ids = make(2)
    with pytest.raises(CountMismatch) as refused:
        cancelled(project_id, job_ids, expected)
    assert refused.value.extra == {"count": 2, "expected_count": expected}
    assert states(job_ids) == ["queued", "queued"]


def test_what_is_over_or_being_cancelled_is_not_counted() -> None:
    claim = lives.training()
    project_id = lives.now(claim.job_id).project_id
    lives.cancel(claim.job_id)
    with db.transaction() as session:
        more = [factories.job(session, project_id).id for _ in range(2)]
    lives.cancel(more[0])
    assert len(cancelled(project_id, [claim.job_id, *more], 1)) == 1


def test_filters_mean_the_projects_own_jobs_alone() -> None:
    project_id, mine = make(2, labels={"team": "ads"})
    _, others = make(1, labels={"team": "ads"})
    filters = JobFilters(statuses=("queued", "running"), labels={"team": "ads"})
    assert len(cancelled(project_id, filters, 2)) == 2
    assert states(mine + others) == ["cancelled", "cancelled", "queued"]


def test_ids_that_the_project_does_not_have_are_named() -> None:
    project_id, job_ids = make(1)
    _, foreign = make(1)
    with pytest.raises(ValidationFailed) as refused:
        cancelled(project_id, [*job_ids, *foreign, uuid4()], 1)
    assert [fault.pointer for fault in refused.value.faults] == ["/ids/1", "/ids/2"]
    assert states(job_ids + foreign) == ["queued", "queued"]
