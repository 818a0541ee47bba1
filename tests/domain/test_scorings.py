"""The life of a scoring: claimed once, fenced, ended for good, swept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from domain import db, scorings, sweep
from domain.errors import NotFound, StaleAttempt
from domain.scoring_table import Scoring
from domain.scorings import TASKS
from domain.settings import Settings
from domain.sweep import SweepReport
from tests import factories, scoring_lives
from tests.worker.waiting import wait_until

pytestmark = pytest.mark.usefixtures("settings")


def bells(settings: Settings, name: str) -> int:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        return int(client.llen(name))


def test_a_new_scoring_waits_and_rings_the_scorers_bell_alone(settings: Settings) -> None:
    row = scoring_lives.waiting()
    assert (row.status, row.attempt, row.version) == ("queued", 0, 1)
    wait_until(lambda: bells(settings, "score") == 1, within_s=10)
    assert bells(settings, "train") == 0


def test_projects_take_turns_and_each_goes_on_with_its_oldest() -> None:
    first = scoring_lives.waiting()
    second, third = (scoring_lives.waiting(first.project_id) for _ in range(2))
    others = scoring_lives.waiting()
    order = [scoring_lives.claimed().id for _ in range(4)]
    assert order == [first.id, others.id, second.id, third.id]


def test_the_oldest_is_claimed_first_and_each_once() -> None:
    made = [scoring_lives.waiting().id for _ in range(4)]

    def claim(number: int) -> Scoring | None:
        with db.transaction() as session:
            return TASKS.claim(session, worker=f"scorer-{number}")

    assert scoring_lives.claimed().id == made[0]
    with ThreadPoolExecutor(6) as pool:
        found = [one.id for one in pool.map(claim, range(6)) if one is not None]
    assert sorted(found) == made[1:]


def test_a_claim_has_what_the_scorer_needs() -> None:
    row = scoring_lives.waiting(None, scoring_lives.video(prompt="x"))
    claim = scoring_lives.claimed("me")
    assert (claim.reward["name"], claim.attempt, claim.params) == ("tiny-text-match@1", 1, {})
    assert claim.videos == row.videos
    held = scoring_lives.now(row.id)
    assert (held.status, held.owner) == ("running", "me")
    assert held.started_at is not None


def test_a_result_ends_it_for_good() -> None:
    scoring_lives.waiting()
    claim = scoring_lives.claimed()
    ended = scoring_lives.succeeded(claim)
    assert (ended.status, ended.result, ended.owner) == ("succeeded", scoring_lives.RESULT, None)
    assert ended.finished_at is not None
    for late in (scoring_lives.succeeded, scoring_lives.failed):
        with pytest.raises(StaleAttempt):
            late(claim)
    with pytest.raises(IntegrityError, match="terminal"), db.transaction() as session:
        session.execute(text("UPDATE scorings SET status = 'queued'"))


def test_what_can_help_is_tried_once_more_and_then_it_has_failed() -> None:
    scoring_lives.waiting()
    first = scoring_lives.claimed()
    assert scoring_lives.failed(first).status == "queued"
    second = scoring_lives.claimed()
    assert second.attempt == 2
    row = scoring_lives.failed(second)
    assert row.status == "failed"
    assert row.error is not None
    assert row.error["code"] == "scorer_crashed"


def test_what_cannot_help_is_not_tried_again() -> None:
    scoring_lives.waiting()
    row = scoring_lives.failed(scoring_lives.claimed(), code="weights_unreadable", retryable=False)
    assert (row.status, row.attempt) == ("failed", 1)


def test_an_attempt_that_lost_its_lease_writes_nothing() -> None:
    row = scoring_lives.waiting()
    first = scoring_lives.claimed()
    holder: dict[str, Any] = {"row_id": first.id, "attempt": first.attempt}
    with db.transaction() as session:
        TASKS.heartbeat(session, **holder)
    scoring_lives.run_out()
    assert sweep.run_once() == SweepReport(ran=True, requeued=1)
    with pytest.raises(StaleAttempt), db.transaction() as session:
        TASKS.heartbeat(session, **holder)
    second = scoring_lives.claimed()
    with pytest.raises(StaleAttempt):
        scoring_lives.succeeded(first)
    scoring_lives.run_out()
    assert sweep.run_once() == SweepReport(ran=True, failed=1)
    lost = scoring_lives.now(row.id)
    assert (lost.status, lost.attempt) == ("failed", second.attempt)
    assert lost.error is not None
    assert lost.error["code"] == "worker_lost"


def test_a_scoring_that_no_scorer_takes_ends_too() -> None:
    row = scoring_lives.waiting()
    assert sweep.run_once() == SweepReport(ran=True)
    with db.transaction() as session:
        session.execute(text("UPDATE scorings SET created_at = created_at - interval '2 hours'"))
    assert sweep.run_once() == SweepReport(ran=True, failed=1)
    expired = scoring_lives.now(row.id)
    assert expired.error is not None
    assert expired.error["code"] == "queue_expired"


def test_a_lost_bell_is_rung_again(settings: Settings) -> None:
    scoring_lives.waiting()
    wait_until(lambda: bells(settings, "score") == 1, within_s=10)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        client.flushall()
    with db.transaction() as session:
        session.execute(text("UPDATE scorings SET hinted_at = hinted_at - interval '1 day'"))
    assert sweep.run_once() == SweepReport(ran=True, hinted=1)
    wait_until(lambda: bells(settings, "score") == 1, within_s=10)


def test_another_projects_scoring_is_not_found() -> None:
    row = scoring_lives.waiting()
    with db.transaction() as session:
        other = factories.project(session).id
    for project_id, scoring_id in ((other, row.id), (row.project_id, uuid4())):
        with pytest.raises(NotFound), db.read() as session:
            scorings.get(session, project_id=project_id, scoring_id=scoring_id)
    with db.read() as session:
        found = scorings.get(session, project_id=row.project_id, scoring_id=row.id)
        assert isinstance(found, Scoring)
