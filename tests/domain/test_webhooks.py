"""Webhook endpoints of a project."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text

from domain import db, webhooks
from domain.errors import Conflict
from domain.webhook_tables import WebhookEndpoint
from domain.webhooks import MAX_ENDPOINTS, Wish
from tests import factories, hooks
from tests.worker.waiting import wait_until

pytestmark = pytest.mark.usefixtures("settings")
WISH = Wish(url="https://example.com/hook", description="", event_types=None, enabled=True)


def somebody_waits_for_a_lock() -> bool:
    with db.read() as session:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return bool(session.scalar(text(waiting)))


def test_of_two_that_are_made_at_once_the_second_counts_the_first() -> None:
    with db.transaction() as session:
        project_id = factories.project(session).id
    for _ in range(MAX_ENDPOINTS - 1):
        hooks.endpoint(project_id)

    def one_more() -> None:
        with db.transaction() as session:
            webhooks.create(session, hooks.caller(project_id), WISH)

    with ThreadPoolExecutor(1) as threads:
        with db.transaction() as session:
            webhooks.create(session, hooks.caller(project_id), WISH)
            second: Future[None] = threads.submit(one_more)
            wait_until(
                lambda: second.done() or somebody_waits_for_a_lock(),
                within_s=30,
                what="the second one",
            )
        with pytest.raises(Conflict):
            second.result(30)
    with db.read() as session:
        query = select(func.count()).select_from(WebhookEndpoint)
        assert session.scalar(query) == MAX_ENDPOINTS
