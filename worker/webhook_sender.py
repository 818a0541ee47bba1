"""The loop that sends webhooks: claims what is due, sends much at once, records what came of it.

Receivers are talked to outside of any transaction. Any number of senders may run beside each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy.orm import Session

from domain import db, webhook_deliveries
from domain.errors import Unavailable
from domain.webhook_deliveries import Claimed
from worker import webhook_post
from worker.webhook_lookups import Lookups

log = logging.getLogger(__name__)

IN_FLIGHT = 100
POLL_S = 1.0
PURGE_EVERY_S = 600.0
Result = TypeVar("Result")


class Sender:
    """Sends what is due until `stop()`. To be used from one event loop."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._lookups = Lookups()
        self._sending: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._stopping = False
        # Few, so that the pool of database connections is not exhausted.
        self._threads = CapacityLimiter(4)

    def look(self) -> None:
        """Something may have become due."""
        self._look.set()

    def stop(self) -> None:
        """Claims no more; `run` returns once all that is on its way has ended."""
        self._stopping = True
        self._look.set()

    async def run(self) -> None:
        """Until `stop()`. A database that is away is waited for."""
        purging = asyncio.create_task(self._purge())
        while not self._stopping:
            self._look.clear()
            found = await self._claim()
            if not found:
                await self._rung()
        purging.cancel()
        await asyncio.gather(purging, *self._sending, return_exceptions=True)
        self._lookups.close()

    async def _claim(self) -> int:
        """Begins to send what is due, as far as there is room; how many."""
        room = IN_FLIGHT - len(self._sending)
        if room <= 0:
            return 0
        claimed = await self._in_database(
            lambda session: webhook_deliveries.claim(session, room=room)
        )
        for one in claimed or []:
            task = asyncio.create_task(self._send(one))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        return len(claimed or [])

    async def _send(self, claimed: Claimed) -> None:
        resolve = self._lookups.of(claimed.project_id)
        outcome = await webhook_post.deliver(
            claimed, allow_private=self._allow_private, resolve=resolve
        )
        await self._in_database(
            lambda session: webhook_deliveries.record(session, claimed, outcome)
        )

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        # There is room again, and perhaps the same endpoint's next is due.
        self._look.set()
        if not task.cancelled() and task.exception() is not None:
            # Its lease runs out, and it is sent again.
            log.error("a delivery failed unexpectedly", exc_info=task.exception())

    async def _rung(self) -> None:
        try:
            await asyncio.wait_for(self._look.wait(), POLL_S)
        except TimeoutError:
            return

    async def _purge(self) -> None:
        while True:
            gone = await self._in_database(webhook_deliveries.purge)
            if gone:
                log.info("%d old deliveries deleted", gone)
            else:
                await asyncio.sleep(PURGE_EVERY_S)

    async def _in_database(self, act: Callable[[Session], Result]) -> Result | None:
        """What `act` gives in a transaction of its own; None when the database is away."""

        def transact() -> Result:
            with db.transaction() as session:
                return act(session)

        try:
            return await to_thread.run_sync(transact, limiter=self._threads)
        except Unavailable as away:
            log.warning("the database is away: %s", away)
            return None
