"""Look-ups of receivers' names, in threads: no project's slow names hold up those of others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import SOCK_STREAM, getaddrinfo
from uuid import UUID

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Host and port to addresses. Raises `OSError`, `ValueError` for a host that is no name."""

THREADS = 256
PER_PROJECT = 32
"""So many look-ups of one project are open at most. One that hangs may outlive its try, and counts until it ends."""


class Lookups:
    """The system's resolver, shared between projects. To be used from one event loop."""

    def __init__(self, look_up: Callable[[str, int], Sequence[Address]] | None = None) -> None:
        self._look_up = look_up or system_look_up
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resolve")
        self._places: defaultdict[UUID, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(PER_PROJECT)
        )

    def of(self, project_id: UUID) -> Resolve:
        """What resolves for the project, and waits while too many of its look-ups are open."""
        return partial(self._resolve, self._places[project_id])

    def close(self) -> None:
        """Begins no more look-ups, and waits for none."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, places: asyncio.Semaphore, host: str, port: int) -> Sequence[Address]:
        await places.acquire()
        loop = asyncio.get_running_loop()
        running = self._threads.submit(self._look_up, host, port)
        # Not when the try gives up: the thread is taken until the look-up ends.
        running.add_done_callback(lambda _: _tell(loop, places.release))
        return await asyncio.wrap_future(running)


def system_look_up(host: str, port: int) -> Sequence[Address]:
    """By the system's resolver, which may take its time."""
    return [ip_address(entry[4][0]) for entry in getaddrinfo(host, port, type=SOCK_STREAM)]


def _tell(loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
    # A look-up may end after its loop, which then counts no more.
    if not loop.is_closed():
        loop.call_soon_threadsafe(ended)
