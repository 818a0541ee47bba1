"""Drives scorings through their lives by the functions a scorer uses."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from domain import db, scorings
from domain.scoring_table import Scoring
from domain.scorings import TASKS, Asked
from tests import factories
from vader_core.failure import Failure

REWARD = {
    "id": "tiny-text-match",
    "version": "1",
    "name": "tiny-text-match@1",
    "title": "Text match",
    "per": "frame",
    "range": [-1.0, 1.0],
}
RESULT = {
    "reward": "tiny-text-match@1",
    "scores": [{"score": 0.5, "reason": None}],
    "device": "cpu",
    "seconds": 1.5,
}
BROKEN = Failure(
    code="scorer_crashed", message="It crashed.", hint="", fault="platform", retryable=True
)


def video(**changes: Any) -> dict[str, Any]:
    """A video as the table has it."""
    return {
        "upload": "upl_01kax4b7c8d9e0f1g2h3j4k5m6",
        "sample": None,
        "prompt": "a red square",
        "target": None,
        "key": "uploads/x",
        "sha256": "0" * 64,
        "size_bytes": 3,
        **changes,
    }


def waiting(
    project_id: UUID | None = None, *videos: dict[str, Any], reward: dict[str, Any] = REWARD
) -> Scoring:
    """A queued scoring, of a project of its own unless told otherwise."""
    asked = Asked(reward=reward, params={}, videos=list(videos) or [video()])
    with db.transaction() as session:
        project_id = project_id or factories.project(session).id
        return scorings.create(
            session, asked, project_id=project_id, created_by_key_id=None, trace_id=uuid4().hex
        )


def claimed(worker: str = "scorer-1") -> Scoring:
    """The next waiting scoring, as it was claimed."""
    with db.transaction() as session:
        claim = TASKS.claim(session, worker=worker)
    assert claim is not None
    return claim


def succeeded(claim: Scoring, result: dict[str, Any] = RESULT) -> Scoring:
    with db.transaction() as session:
        return TASKS.succeed(session, row_id=claim.id, attempt=claim.attempt, result=result)


def failed(claim: Scoring, **changes: Any) -> Scoring:
    error = BROKEN.model_copy(update=changes)
    with db.transaction() as session:
        return TASKS.fail_attempt(session, row_id=claim.id, attempt=claim.attempt, error=error)


def now(scoring_id: UUID) -> Scoring:
    """The row as it is."""
    with db.read() as session:
        return session.get_one(Scoring, scoring_id)


def run_out() -> None:
    """Lets every lease run out now, by the database's clock."""
    ago = "clock_timestamp() - interval '1 s'"
    with db.transaction() as session:
        session.execute(
            text(f"UPDATE scorings SET lease_until = {ago} WHERE lease_until IS NOT NULL")
        )
