"""Wakes whatever waits for a job within this process. It says only "look again", never what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from uuid import UUID

import anyio


class Doorbell:
    """Fans one notification out to all streams and waiting requests of a job.

    To be used from the event loop's thread only. `rings` counts all rings so far. `closed` says that the
    server is stopping: whoever waits should answer with what there is. `lookers` are the threads to
    look with: few and of their own, so that many who wait cannot hold up other requests.
    """

    def __init__(self) -> None:
        self.rings = 0
        self.lookers = anyio.CapacityLimiter(4)
        self.closed = False
        self._waiting: dict[UUID, set[asyncio.Event]] = {}

    @contextmanager
    def heard_for(self, job_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set at every ring for `job_id`; whoever uses it clears it before looking."""
        rung = asyncio.Event()
        others = self._waiting.setdefault(job_id, set())
        others.add(rung)
        try:
            yield rung
        finally:
            others.discard(rung)
            if not others and self._waiting.get(job_id) is others:
                del self._waiting[job_id]

    def ring(self, job_id: UUID) -> None:
        self.rings += 1
        for rung in self._waiting.get(job_id, ()):
            rung.set()

    def ring_all(self) -> None:
        self.rings += 1
        for rung in chain.from_iterable(self._waiting.values()):
            rung.set()

    def close(self) -> None:
        self.closed = True
        self.ring_all()


async def heard_within(rung: asyncio.Event, *, timeout_s: float) -> bool:
    """Whether the bell rang within `timeout_s` seconds."""
    try:
        await asyncio.wait_for(rung.wait(), timeout_s)
    except TimeoutError:
        return False
    return True
