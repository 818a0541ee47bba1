"""Jobs that failed, and what follows an ended job, over HTTP."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from domain.job_errors import JobError
from domain.job_status import Status
from tests import lives, trainer_lines
from tests.api import outputs
from tests.api.teams import new_key, post_job

FOR_GOOD = JobError(code="diverged", message="It diverged.", fault="user", retryable=False)
PASSING = JobError(code="worker_lost", message="The worker fell silent.")


def failed(client: TestClient, error: JobError, *, checkpoints: tuple[int, ...] = ()) -> Any:
    asked = post_job(client)
    claim = outputs.start()
    lives.told(claim, *(trainer_lines.step(number) for number in range(1, 13)))
    lives.checkpointed(claim, checkpoints)
    lives.ended(claim, Status.FAILED, error=error)
    return client.get(asked["links"]["self"]).json()


def act(client: TestClient, job: dict[str, Any], action: str, body: Any = None) -> Any:
    return client.post(f"/v1/jobs/{job['id']}/{action}", json=body, headers=new_key())


def made(client: TestClient, job: dict[str, Any], action: str, body: Any = None) -> dict[str, Any]:
    answer = act(client, job, action, body)
    assert answer.status_code == 202, answer.text
    shown: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == shown["links"]["self"]
    assert (shown["status"], shown["parent_job_id"], shown["parent_kind"]) == (
        *("queued", job["id"]),
        action,
    )
    return shown


def pointers(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {fault["pointer"]: fault["code"] for fault in answer.json()["errors"]}


def checkpoints(client: TestClient, job: dict[str, Any]) -> dict[int, str]:
    rows = client.get(job["links"]["checkpoints"]).json()["data"]
    return {row["step"]: row["id"] for row in rows}
