"""Hears that jobs have new events: the doorbell of open streams. The only asynchronous database code.

A notification carries a job's id and nothing else; whoever hears it reads the table.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

import psycopg

from domain.events import CHANNEL

logger = logging.getLogger(__name__)

RECONNECT_S = 1.0
CONNECT_TIMEOUT_S = 5


async def listen(
    database_url: str, *, on_job: Callable[[UUID], None], on_gap: Callable[[], None]
) -> None:
    """Call `on_job` with the id of every job that gets an event. Runs until it is cancelled.

    One connection serves the whole process. `on_gap` is called after every (re)connect, because
    notifications sent before it are lost: everything that waits must look for itself.
    """
    conninfo = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    while True:
        try:
            await _listen_once(conninfo, on_job, on_gap)
        except psycopg.Error as error:
            logger.warning("streams lost their database connection: %s", type(error).__name__)
        await asyncio.sleep(RECONNECT_S)


async def _listen_once(
    conninfo: str, on_job: Callable[[UUID], None], on_gap: Callable[[], None]
) -> None:
    connection = await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
    )
    async with connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        on_gap()
        async for notification in connection.notifies():
            try:
                job_id = UUID(notification.payload)
            except ValueError:
                # Anybody who may connect may notify; a stranger's message must not end the listening.
                logger.warning("a notification names no job")
            else:
                on_job(job_id)
