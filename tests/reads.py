"""Asynchronous reads for tests that are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from domain.reads import Reads
from domain.settings import get_settings

Result = TypeVar("Result")


def reading(what: Callable[[Reads], Awaitable[Result]], *, connections: int = 1) -> Result:
    """What `what` gives for a pool of its own."""

    async def run() -> Result:
        reads = Reads(get_settings().database_url.get_secret_value(), connections=connections)
        try:
            return await what(reads)
        finally:
            await reads.close()

    return asyncio.run(run())
