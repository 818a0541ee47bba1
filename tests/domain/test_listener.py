"""Notifications reach whoever listens, across lost connections."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID

import psycopg

from domain import events, listener
from domain.db import sqlalchemy_url
from domain.settings import Settings
from tests import lives


async def _until(told: asyncio.Event) -> None:
    await asyncio.wait_for(told.wait(), 20)
    told.clear()


async def _hear(settings: Settings) -> list[UUID]:
    heard: list[UUID] = []
    connected, rung = asyncio.Event(), asyncio.Event()

    def on_id(row_id: UUID) -> None:
        heard.append(row_id)
        rung.set()

    url = settings.database_url.get_secret_value()
    listening = asyncio.create_task(
        listener.listen(
            sqlalchemy_url(url), channel=events.CHANNEL, on_id=on_id, on_gap=connected.set
        )
    )
    await _until(connected)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
        await other.execute("SELECT pg_notify('vader_events', 'nonsense')")
        first = await asyncio.to_thread(lives.waiting)
        while not {first.id, first.project_id} <= set(heard):
            await _until(rung)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query = 'LISTEN vader_events' AND datname = current_database()"
        )
    await _until(connected)
    second = await asyncio.to_thread(lives.waiting)
    while not {second.id, second.project_id} <= set(heard):
        await _until(rung)
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    assert set(heard) == {first.id, first.project_id, second.id, second.project_id}
    return heard


def test_jobs_are_heard_of_again_after_the_connection_was_lost(settings: Settings) -> None:
    assert asyncio.run(_hear(settings))
