"""Hears what Postgres tells of commits: the doorbell of open streams and of the webhook sender. The only
asynchronous database code.

A notification carries an id and nothing else; whoever hears it reads the table.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

import psycopg

logger = logging.getLogger(__name__)

RECONNECT_S = 1.0
CONNECT_TIMEOUT_S = 5


async def listen(
    database_url: str,
    *,
    channel: str,
    on_id: Callable[[UUID], None],
    on_gap: Callable[[], None],
) -> None:
    """Call `on_id` with every id that `channel` (a constant of ours) is told. Runs until it is cancelled.

    One connection serves the whole process. `on_gap` is called after every (re)connect, because
    notifications sent before it are lost: everything that waits must look for itself.
    """
    conninfo = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    while True:
        try:
            await _listen_once(conninfo, channel, on_id, on_gap)
        except psycopg.Error as error:
            logger.warning("the listener lost its database connection: %s", type(error).__name__)
        await asyncio.sleep(RECONNECT_S)


async def _listen_once(
    conninfo: str, channel: str, on_id: Callable[[UUID], None], on_gap: Callable[[], None]
) -> None:
    connection = await psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
    )
    async with connection:
        await connection.execute(f"LISTEN {channel}")
        on_gap()
        async for notification in connection.notifies():
            try:
                named = UUID(notification.payload)
            except ValueError:
                # Anybody who may connect may notify; a stranger's message must not end the listening.
                logger.warning("a notification names no id")
            else:
                on_id(named)
