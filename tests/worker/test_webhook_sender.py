"""The loop that sends webhooks: everything arrives, and no receiver holds up another."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select
from standardwebhooks import Webhook

from domain import db, events, webhooks
from domain.settings import Settings
from domain.tables import Job
from domain.webhook_tables import WebhookAttempt, WebhookDelivery
from tests import factories, hooks, servers
from tests.worker.waiting import wait_until
from worker import webhook_sender
from worker.webhook_sender import Sender


def project() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


def post(project_id: UUID) -> Job:
    with db.transaction() as session:
        return factories.job(session, project_id)


def count(status: str) -> int:
    with db.read() as session:
        query = select(func.count()).where(WebhookDelivery.status == status)
        return session.scalars(query.select_from(WebhookDelivery)).one()


@contextmanager
def sending() -> Iterator[Sender]:
    """A sender in a thread of its own."""
    loop = asyncio.new_event_loop()
    sender = Sender(allow_private=True)

    def run() -> None:
        loop.run_until_complete(sender.run())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sender
    finally:
        loop.call_soon_threadsafe(sender.stop)
        thread.join(30)
        assert not thread.is_alive(), "the sender did not stop"
        loop.close()


@pytest.mark.usefixtures("settings")
def test_every_event_arrives_once_where_all_goes_well() -> None:
    project_id = project()
    with hooks.receiver() as receiver, sending():
        _, secret = hooks.endpoint(project_id, receiver.url)
        jobs = [post(project_id) for _ in range(5)]
        wait_until(lambda: count("delivered") == 10, within_s=30, what="ten deliveries")
    messages = [Webhook(secret).verify(got.body, got.headers) for got in receiver.got]
    assert Counter(message["type"] for message in messages) == {"job.created": 5, "job.queued": 5}
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 10
    assert len({message["data"]["job_id"] for message in messages}) == len(jobs)


@pytest.mark.usefixtures("settings")
def test_a_failed_try_is_repeated_with_the_same_id_and_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("domain.webhook_schedule.RETRY_DELAYS_S", (0, 0, 0))
    project_id = project()

    def twice_down(number: int) -> tuple[int, dict[str, str], bytes]:
        return (500 if number < 3 else 200), {}, b""

    with hooks.receiver(twice_down) as receiver, sending():
        _, secret = hooks.endpoint(project_id, receiver.url, event_types=["job.created"])
        post(project_id)
        wait_until(lambda: count("delivered") == 1, within_s=30, what="the delivery")
    assert len({(got.headers["webhook-id"], got.body) for got in receiver.got}) == 1
    assert len(receiver.got) == 3
    with db.read() as session:
        tries = session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.number)).all()
    assert [attempt.status_code for attempt in tries] == [500, 500, 200]
    for got in receiver.got:
        Webhook(secret).verify(got.body, got.headers)


@pytest.mark.usefixtures("settings")
def test_a_receiver_that_never_answers_delays_nobody() -> None:
    stuck, quick = project(), project()
    ended = threading.Event()

    def hang(_number: int) -> tuple[int, dict[str, str], bytes]:
        ended.wait(30)
        return 200, {}, b""

    with hooks.receiver(hang) as tarpit, hooks.receiver() as receiver, sending():
        hooks.endpoint(stuck, tarpit.url)
        hooks.endpoint(quick, receiver.url)
        for _ in range(10):
            post(stuck)
        wait_until(lambda: len(tarpit.got) > 0, within_s=30, what="the tarpit")
        for _ in range(5):
            post(quick)
        wait_until(lambda: len(receiver.got) == 10, within_s=30, what="the quick receiver")
        # Still on its way, and no more than its share.
        assert 1 <= len(tarpit.got) <= 4
        ended.set()


@pytest.mark.usefixtures("settings")
def test_more_than_there_is_room_for_arrives_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "IN_FLIGHT", 3)
    project_id = project()
    with hooks.receiver() as receiver, sending():
        hooks.endpoint(project_id, receiver.url, event_types=["job.warning"])
        job = post(project_id)
        with db.transaction() as session:
            for _ in range(25):
                events.append(session, job_id=job.id, type="job.warning", message="")
        wait_until(lambda: count("delivered") == 25, within_s=30, what="all deliveries")
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 25


def test_a_process_that_is_killed_loses_no_message(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADER_WEBHOOK_ALLOW_PRIVATE", "true")
    project_id = project()
    got_one, answered = threading.Event(), threading.Event()

    def slow_first(number: int) -> tuple[int, dict[str, str], bytes]:
        if number == 1:
            got_one.set()
            answered.wait(30)
        return 200, {}, b""

    def start(name: str) -> subprocess.Popen[bytes]:
        with (tmp_path / name).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "worker.webhooks"],
                stdout=log,
                stderr=log,
                preexec_fn=servers.end_with_parent,
            )

    with hooks.receiver(slow_first) as receiver:
        hooks.endpoint(project_id, receiver.url, event_types=["job.created"])
        first = start("first.log")
        post(project_id)
        assert got_one.wait(30)
        first.kill()
        first.wait()
        answered.set()
        assert count("delivered") == 0
        with db.transaction() as session:
            # As if the lease had run out.
            for delivery in session.scalars(select(WebhookDelivery)):
                delivery.lease_until = None
        second = start("second.log")
        wait_until(lambda: count("delivered") == 1, within_s=30, what="the second sender")
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) == 0
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len(receiver.got) == 2


@pytest.mark.usefixtures("settings")
def test_both_secrets_sign_while_one_gives_way_to_the_other() -> None:
    project_id = project()
    with hooks.receiver() as receiver, sending():
        endpoint, old = hooks.endpoint(project_id, receiver.url, event_types=["job.created"])
        with db.transaction() as session:
            _, new = webhooks.rotate_secret(
                session, hooks.caller(project_id), endpoint.id, overlap=timedelta(hours=1)
            )
        post(project_id)
        wait_until(lambda: len(receiver.got) == 1, within_s=30, what="the first message")
        with db.transaction() as session:
            _, newest = webhooks.rotate_secret(
                session, hooks.caller(project_id), endpoint.id, overlap=timedelta()
            )
        post(project_id)
        wait_until(lambda: len(receiver.got) == 2, within_s=30, what="the second message")
    first, second = receiver.got
    for secret in (old, new):
        Webhook(secret).verify(first.body, first.headers)
    Webhook(newest).verify(second.body, second.headers)
    assert " " not in second.headers["webhook-signature"]
