"""The life of a generation: claimed in turns, fenced, cancelled, ended for good, its files removed in time."""

from __future__ import annotations

from uuid import UUID

import pytest
import redis
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from domain import db, generation_files, generations, quotas, sweep
from domain.access_tables import UsageEntry
from domain.errors import InvalidTransition, NotFound, StaleAttempt
from domain.generations import TASKS
from domain.settings import Settings
from domain.store import ObjectStore
from tests import factories, generation_lives, lives, scoring_lives
from tests.worker.waiting import wait_until

pytestmark = pytest.mark.usefixtures("settings")


def bells(settings: Settings, name: str) -> int:
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        return int(client.llen(name))


def cancel(row: generations.Generation) -> generations.Generation:
    with db.transaction() as session:
        return generations.cancel(session, project_id=row.project_id, generation_id=row.id)


def delete(row: generations.Generation) -> generations.Generation:
    with db.transaction() as session:
        return generations.delete(session, project_id=row.project_id, generation_id=row.id)


def used(row: generations.Generation) -> list[tuple[str, float]]:
    """Kind and GPU-seconds of what the ledger has of the row."""
    with db.read() as session:
        query = select(UsageEntry).where(UsageEntry.subject_id == row.id)
        return [(entry.kind, entry.gpu_seconds) for entry in session.scalars(query)]


def test_a_new_generation_waits_and_rings_the_generators_bell_alone(settings: Settings) -> None:
    row = generation_lives.waiting()
    assert (row.status, row.attempt, row.version) == ("queued", 0, 1)
    wait_until(lambda: bells(settings, "generate") == 1, within_s=10)
    assert (bells(settings, "train"), bells(settings, "score")) == (0, 0)


def test_scorings_and_generations_do_not_take_each_others_work() -> None:
    scoring, generation = scoring_lives.waiting(), generation_lives.waiting()
    assert generation_lives.claimed().id == generation.id
    assert scoring_lives.claimed().id == scoring.id
    with db.transaction() as session:
        assert TASKS.claim(session, worker="x") is None


def test_projects_take_turns_and_each_goes_on_with_its_oldest() -> None:
    first = generation_lives.waiting()
    second, third = (generation_lives.waiting(first.project_id) for _ in range(2))
    others = generation_lives.waiting()
    with db.read() as session:
        places = generations.queue_places(session, [first, second, third, others])
    assert places == {first.id: 1, second.id: 2, third.id: 3, others.id: 1}
    order = [generation_lives.claimed().id for _ in range(4)]
    assert order == [first.id, others.id, second.id, third.id]


def test_a_result_ends_it_for_good_and_its_seconds_are_counted() -> None:
    generation_lives.waiting()
    claim = generation_lives.claimed()
    generation_lives.grow_old(claimed_at="30 seconds")
    ended = generation_lives.succeeded(claim)
    assert (ended.status, ended.owner) == ("succeeded", None)
    seconds = generation_lives.now(ended.id).gpu_seconds
    assert 30 <= seconds < 120
    [(kind, counted)] = used(ended)
    assert (kind, counted) == ("generation", pytest.approx(seconds))
    with pytest.raises(StaleAttempt):
        generation_lives.failed(claim)
    with pytest.raises(IntegrityError, match="terminal"), db.transaction() as session:
        session.execute(text("UPDATE generations SET status = 'queued'"))


def test_seconds_of_both_attempts_are_counted_but_not_of_a_lost_one() -> None:
    row = generation_lives.waiting()
    generation_lives.failed(generation_lives.claimed())
    generation_lives.claimed()
    generation_lives.grow_old(claimed_at="1 hour", lease_until="1 hour")
    sweep.run_once()
    lost = generation_lives.now(row.id)
    assert (lost.status, lost.attempt) == ("failed", 2)
    assert lost.error is not None
    assert lost.error["code"] == "worker_lost"
    assert lost.gpu_seconds < 3000


def test_one_that_waits_is_cancelled_and_never_claimed() -> None:
    row = generation_lives.waiting()
    ended = cancel(row)
    assert (ended.status, ended.gpu_seconds) == ("cancelled", 0)
    assert ended.finished_at is not None
    with db.transaction() as session:
        assert TASKS.claim(session, worker="x") is None
    assert used(row) == []


def test_one_that_runs_is_cancelled_at_once_and_its_worker_may_write_no_more() -> None:
    row = generation_lives.waiting()
    claim = generation_lives.claimed()
    assert cancel(row).status == "cancelled"
    for late in (generation_lives.succeeded, generation_lives.failed):
        with pytest.raises(StaleAttempt):
            late(claim)
    with pytest.raises(StaleAttempt), db.transaction() as session:
        TASKS.heartbeat(session, row_id=claim.id, attempt=claim.attempt)
    assert [kind for kind, _ in used(row)] == ["generation"]


def test_what_has_ended_cannot_be_cancelled() -> None:
    row = generation_lives.waiting()
    generation_lives.succeeded(generation_lives.claimed())
    with pytest.raises(InvalidTransition) as caught:
        cancel(row)
    assert caught.value.extra == {"current_status": "succeeded", "allowed_actions": ["delete"]}


def test_only_what_has_ended_can_be_deleted_and_its_files_go(store: ObjectStore) -> None:
    row = generation_lives.waiting()
    with pytest.raises(InvalidTransition):
        delete(row)
    generation_lives.succeeded(generation_lives.claimed(), store)
    prefix = generations.attempts_prefix(row.id)
    assert len(list(store.list(prefix))) == 1
    first = delete(row)
    assert first.deleted_at is not None
    assert delete(row).version == first.version
    assert generation_files.remove_due(store) == 1
    assert list(store.list(prefix)) == []
    gone = generation_lives.now(row.id)
    assert gone.files_removed_at is not None
    assert gone.result is not None
    assert generation_files.remove_due(store) == 0


def test_files_are_kept_for_as_long_as_the_settings_say(
    settings: Settings, store: ObjectStore
) -> None:
    row = generation_lives.waiting()
    ended = generation_lives.succeeded(generation_lives.claimed(), store)
    assert generations.expires_at(row) is None
    expires_at = generations.expires_at(ended)
    assert expires_at is not None
    assert ended.finished_at is not None
    assert (expires_at - ended.finished_at).days == settings.generation_keep_days
    assert generation_files.remove_due(store) == 0
    generation_lives.grow_old(finished_at=f"{settings.generation_keep_days} days")
    assert generation_files.remove_due(store) == 1
    assert list(store.list(generations.attempts_prefix(row.id))) == []
    assert generation_lives.now(row.id).deleted_at is None


def test_one_that_no_generator_takes_ends_too() -> None:
    row = generation_lives.waiting()
    generation_lives.grow_old(created_at="7 hours")
    sweep.run_once()
    expired = generation_lives.now(row.id)
    assert expired.error is not None
    assert expired.error["code"] == "queue_expired"


def limit_gpu_seconds(project_id: UUID, most: int | None) -> None:
    with db.transaction() as session:
        quotas.set_limits(session, project_id, gpu_seconds_a_month=most)


def test_those_of_a_project_whose_month_is_used_up_wait_and_others_go_on() -> None:
    first, held, other = generation_lives.waiting(), None, generation_lives.waiting()
    held = generation_lives.waiting(first.project_id)
    claim = generation_lives.claimed()
    assert claim.id == first.id
    limit_gpu_seconds(first.project_id, 20)
    generation_lives.grow_old(claimed_at="30 seconds")
    generation_lives.succeeded(claim)
    with db.read() as session:
        assert quotas.is_spent(session, first.project_id)
    assert generation_lives.claimed().id == other.id
    with db.transaction() as session:
        assert TASKS.claim(session, worker="x") is None
    limit_gpu_seconds(first.project_id, 200)
    assert generation_lives.claimed().id == held.id


def test_without_any_gpu_seconds_nothing_is_claimed_whoever_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = generation_lives.waiting()
    limit_gpu_seconds(row.project_id, 0)
    with db.transaction() as session:
        assert TASKS.claim(session, worker="x") is None
    limit_gpu_seconds(row.project_id, None)
    with lives.changed_settings(monkeypatch, quota_gpu_seconds_a_month="0"):
        with db.transaction() as session:
            assert TASKS.claim(session, worker="x") is None
        limit_gpu_seconds(row.project_id, 1)
        assert generation_lives.claimed().id == row.id


@pytest.mark.parametrize("spent_at_the_end", [True, False])
def test_one_that_nobody_took_names_no_cause_by_how_it_ended(spent_at_the_end: bool) -> None:
    row = generation_lives.waiting()
    if spent_at_the_end:
        limit_gpu_seconds(row.project_id, 0)
    generation_lives.grow_old(created_at="7 hours")
    sweep.run_once()
    error = generation_lives.now(row.id).error or {}
    assert (error["code"], error["fault"]) == ("queue_expired", "platform")
    assert error["message"] == "No generator took it within 6 h."
    assert "may be used up" in error["hint"]


def test_a_lost_bell_is_rung_again(settings: Settings) -> None:
    generation_lives.waiting()
    wait_until(lambda: bells(settings, "generate") == 1, within_s=10)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        client.flushall()
    generation_lives.grow_old(hinted_at="1 day")
    assert sweep.run_once().hinted == 1
    wait_until(lambda: bells(settings, "generate") == 1, within_s=10)


def test_another_projects_generation_is_not_found() -> None:
    row = generation_lives.waiting()
    with db.transaction() as session:
        other = factories.project(session).id
    for act in (generations.get, generations.cancel, generations.delete):
        with pytest.raises(NotFound), db.transaction() as session:
            act(session, project_id=other, generation_id=row.id)
