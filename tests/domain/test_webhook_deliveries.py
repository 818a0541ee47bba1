from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select, update

from domain import db, webhook_deliveries, webhooks
from domain.access_tables import AuditEntry
from domain.db import utc_now
from domain.errors import Conflict
from domain.ids import to_public
from domain.webhook_deliveries import IN_FLIGHT_PER_ENDPOINT, Claimed, Outcome
from domain.webhook_schedule import RETRY_DELAYS_S
from domain.webhook_tables import DeliveryStatus, WebhookDelivery, WebhookEndpoint
from tests import factories, hooks

pytestmark = pytest.mark.usefixtures("settings")


def project() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def queue_tests(endpoint: WebhookEndpoint, count: int = 1) -> list[UUID]:
    with db.transaction() as session:
        return [
            webhooks.send_test(session, hooks.caller(endpoint.project_id), endpoint.id).id
            for _ in range(count)
        ]


def claim(room: int = 100) -> list[Claimed]:
    with db.transaction() as session:
        return webhook_deliveries.claim(session, room=room)


def record(
    claimed: Claimed,
    status_code: int | None = 204,
    error: str | None = None,
    retry_after_s: float | None = None,
) -> None:
    outcome = Outcome(utc_now(), 0.1, status_code, error, retry_after_s)
    with db.transaction() as session:
        webhook_deliveries.record(session, claimed, outcome)


def fail(claimed: Claimed, status_code: int | None = 500, **more: float) -> None:
    record(claimed, status_code, error="it failed", retry_after_s=more.get("retry_after_s"))


def delivery(delivery_id: UUID) -> WebhookDelivery:
    with db.read() as session:
        return session.get_one(WebhookDelivery, delivery_id)


def endpoint_now(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    with db.read() as session:
        return session.get_one(WebhookEndpoint, endpoint.id)


def wait_s(delivery_id: UUID) -> float:
    """How long until the next try."""
    with db.read() as session:
        until = select(WebhookDelivery.next_attempt_at - func.clock_timestamp())
        wait = session.scalars(until.where(WebhookDelivery.id == delivery_id)).one()
    return wait.total_seconds()


def set_all(**values: object) -> None:
    with db.transaction() as session:
        session.execute(update(WebhookDelivery).values(**values))


def make_due() -> None:
    set_all(next_attempt_at=func.clock_timestamp() - timedelta(seconds=1))


def test_what_is_due_is_claimed_once_until_its_lease_ends() -> None:
    endpoint, _ = hooks.endpoint(project())
    [delivery_id] = queue_tests(endpoint)
    [claimed] = claim()
    assert (claimed.delivery_id, claimed.url) == (delivery_id, endpoint.url)
    assert claimed.message_id == to_public("evt", delivery(delivery_id).event_id)
    assert claim() == []
    set_all(lease_until=func.clock_timestamp() - timedelta(seconds=1))
    assert [again.message_id for again in claim()] == [claimed.message_id]


def test_a_message_that_was_taken_is_done() -> None:
    endpoint, _ = hooks.endpoint(project())
    [delivery_id] = queue_tests(endpoint)
    record(claim()[0])
    done = delivery(delivery_id)
    assert (done.status, done.attempts, done.next_attempt_at) == ("delivered", 1, None)
    assert done.ended_at is not None
    assert claim() == []


def test_failures_are_retried_by_the_schedule_and_the_endpoint_ends_with_the_last() -> None:
    endpoint, _ = hooks.endpoint(project())
    [delivery_id] = queue_tests(endpoint)
    for usual in RETRY_DELAYS_S:
        [claimed] = claim()
        fail(claimed)
        assert 0.89 * usual - 1 < wait_s(delivery_id) < 1.11 * usual
        assert claim() == []
        make_due()
    fail(claim()[0], None)
    ended, now = delivery(delivery_id), endpoint_now(endpoint)
    assert (ended.status, ended.attempts, ended.next_attempt_at) == ("failed", 10, None)
    assert (now.enabled, now.disabled_reason) == (False, "failing")
    with db.read() as session:
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "webhook_endpoint.disable")
        ).one()
        attempts = webhook_deliveries.attempts_of(session, [ended])[delivery_id]
    assert (entry.target, entry.details) == (to_public("we", endpoint.id), {"reason": "failing"})
    assert [attempt.number for attempt in attempts] == list(range(1, 11))
    assert (attempts[0].status_code, attempts[-1].status_code) == (500, None)


def test_an_endpoint_to_which_something_got_through_stays_enabled() -> None:
    endpoint, _ = hooks.endpoint(project())
    [bad] = queue_tests(endpoint)
    fail(claim()[0])
    [_good] = queue_tests(endpoint)
    record(claim()[0])
    assert endpoint_now(endpoint).failing_since is None
    for _ in RETRY_DELAYS_S:
        make_due()
        fail(claim()[0])
    assert delivery(bad).status == "failed"
    assert endpoint_now(endpoint).enabled


def test_gone_ends_the_endpoint_at_once_and_what_is_pending_waits_for_it() -> None:
    endpoint, _ = hooks.endpoint(project())
    first, second = queue_tests(endpoint, 2)
    fail(claim(room=1)[0], 410)
    assert (delivery(first).status, delivery(second).status) == ("failed", "pending")
    assert endpoint_now(endpoint).disabled_reason == "gone"
    assert claim() == []
    with pytest.raises(Conflict):
        queue_tests(endpoint)
    with db.transaction() as session:
        held = webhooks.get(
            session, project_id=endpoint.project_id, endpoint_id=endpoint.id, lock=True
        )
        webhooks.change(session, hooks.caller(held.project_id), held, {"enabled": True})
    assert [claimed.delivery_id for claimed in claim()] == [second]


def test_a_receiver_can_ask_for_time() -> None:
    endpoint, _ = hooks.endpoint(project())
    [delivery_id] = queue_tests(endpoint)
    fail(claim()[0], 429, retry_after_s=1000)
    assert 990 < wait_s(delivery_id) <= 1000


def test_no_endpoint_and_no_project_takes_all_the_room() -> None:
    flooded, other_of_it = project(), project()
    busy, _ = hooks.endpoint(flooded)
    queue_tests(busy, 20)
    quiet, _ = hooks.endpoint(other_of_it)
    queue_tests(quiet)
    first = claim(room=2)
    assert {claimed.endpoint_id for claimed in first} == {busy.id, quiet.id}
    second = claim()
    assert len(second) == IN_FLIGHT_PER_ENDPOINT - 1
    assert claim() == []
    record(second[0])
    assert [claimed.endpoint_id for claimed in claim()] == [busy.id]


def test_the_project_with_the_least_on_its_way_comes_first() -> None:
    flooding, modest = project(), project()
    for number in range(3):
        queue_tests(hooks.endpoint(flooding, f"https://example.com/{number}")[0], 4)
    assert len(claim(room=6)) == 6
    queue_tests(hooks.endpoint(modest)[0], 2)
    [next_one] = claim(room=1)
    assert next_one.url == "https://example.com/hook"


def test_a_delivery_can_be_sent_once_more_under_its_id_with_all_its_tries() -> None:
    endpoint, _ = hooks.endpoint(project())
    [delivery_id] = queue_tests(endpoint)
    [claimed] = claim()
    record(claimed)
    with db.transaction() as session:
        webhook_deliveries.redeliver(
            session, project_id=endpoint.project_id, delivery_id=delivery_id
        )
    [again] = claim()
    assert again.message_id == claimed.message_id
    fail(again)
    queued = delivery(delivery_id)
    assert (queued.status, queued.tries, queued.attempts) == ("pending", 1, 2)
    assert 3 < wait_s(delivery_id) < 6


def test_what_two_senders_did_is_noted_and_a_success_stands() -> None:
    endpoint, _ = hooks.endpoint(project())
    [delivery_id] = queue_tests(endpoint)
    [slow] = claim()
    set_all(lease_until=func.clock_timestamp() - timedelta(seconds=1))
    [quick] = claim()
    record(quick)
    fail(slow)
    done = delivery(delivery_id)
    assert (done.status, done.attempts, done.next_attempt_at) == ("delivered", 2, None)


def test_a_deleted_endpoint_takes_its_deliveries_along() -> None:
    endpoint, _ = hooks.endpoint(project())
    queue_tests(endpoint, 2)
    [held] = claim(room=1)
    with db.transaction() as session:
        webhooks.remove(session, hooks.caller(endpoint.project_id), endpoint.id)
    record(held)
    with db.read() as session:
        assert session.scalars(select(WebhookDelivery)).all() == []


def test_old_deliveries_are_purged() -> None:
    endpoint, _ = hooks.endpoint(project())
    old, new = queue_tests(endpoint, 2)
    with db.transaction() as session:
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.id == old)
            .values(created_at=utc_now() - timedelta(days=31), status=DeliveryStatus.FAILED.value)
        )
    with db.transaction() as session:
        assert webhook_deliveries.purge(session) == 1
    with db.transaction() as session:
        assert webhook_deliveries.purge(session) == 0
    assert delivery(new).status == "pending"
