from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from domain import db, idempotency
from domain.errors import IdempotencyInProgress, IdempotencyKeyReused
from domain.idempotency import Replay
from domain.tables import Job
from tests import factories

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def submit(project_id: UUID, *, key: str = "k1", fingerprint: str = "f1") -> Replay:
    """What the API does with a request that makes a job."""
    with db.transaction() as session:
        names = {"project_id": project_id, "key": key, "fingerprint": fingerprint}
        replay = idempotency.begin(session, **names)
        if replay is not None:
            return replay
        job = factories.job(session, project_id)
        answer = Replay(202, {"Location": f"/v1/jobs/{job.id}"}, {"z": 1, "id": str(job.id)})
        idempotency.finish(session, **names, answer=answer)
        return answer


def count_jobs() -> int:
    with db.read() as session:
        return session.query(Job).count()


def test_a_repeated_request_gets_the_first_answer_and_makes_nothing(project_id: UUID) -> None:
    first = submit(project_id)
    again = submit(project_id)
    assert again == first
    assert list(again.body) == ["z", "id"]
    assert count_jobs() == 1


def test_the_same_key_with_another_request_is_refused(project_id: UUID) -> None:
    submit(project_id)
    with pytest.raises(IdempotencyKeyReused):
        submit(project_id, fingerprint="f2")
    assert count_jobs() == 1


def test_a_key_means_something_else_in_another_project(project_id: UUID) -> None:
    submit(project_id)
    with db.transaction() as session:
        other = factories.project(session).id
    submit(other, fingerprint="f2")
    assert count_jobs() == 2


def test_while_the_first_request_runs_another_is_told_so(project_id: UUID) -> None:
    names = {"project_id": project_id, "key": "k1", "fingerprint": "f1"}
    with db.transaction() as first:
        assert idempotency.begin(first, **names) is None
        with pytest.raises(IdempotencyInProgress), db.transaction() as second:
            idempotency.begin(second, **names)


def test_a_request_that_failed_leaves_its_key_free(project_id: UUID) -> None:
    with db.read() as rolled_back:
        idempotency.begin(rolled_back, project_id=project_id, key="k1", fingerprint="f1")
        factories.job(rolled_back, project_id)
    assert count_jobs() == 0
    submit(project_id)
    assert count_jobs() == 1


def test_of_many_requests_at_once_one_makes_the_job(project_id: UUID) -> None:
    start = threading.Barrier(6, timeout=10)

    def race(_: int) -> str:
        start.wait()
        try:
            return str(submit(project_id).body["id"])
        except IdempotencyInProgress:
            return "in progress"

    with ThreadPoolExecutor(6) as threads:
        answers = set(threads.map(race, range(6))) - {"in progress"}
    assert len(answers) == 1
    assert count_jobs() == 1
