"""What asynchronous code does otherwise: streams, sleep, and slow work that must leave the event loop alone.

`client.sync.basics` has the same for threads and is written by hand; all else in `client.sync` is
generated from this folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Stream = AsyncGenerator[Item, None]
"""What comes bit by bit, and can be closed before its end."""


async def sleep(seconds: float) -> None:
    """Waits."""
    await asyncio.sleep(seconds)


async def offload(work: Callable[[], Result]) -> Result:
    """What `work`, which may block, returns."""
    return await asyncio.to_thread(work)
