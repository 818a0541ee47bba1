"""Asynchronous reads for tests that are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID, uuid4

from domain import db
from domain.reads import Reads
from domain.settings import get_settings

Result = TypeVar("Result")


def reading(
    what: Callable[[Reads], Awaitable[Result]],
    *,
    tenant: UUID | None = None,
    connections: int = 1,
) -> Result:
    """What `what` gives for a pool of its own, which reads what `tenant` may see (None: somebody without
    rows)."""

    async def run() -> Result:
        db.tenant.set(tenant or uuid4())
        reads = Reads(get_settings().database_url.get_secret_value(), connections=connections)
        try:
            return await what(reads)
        finally:
            await reads.close()

    return asyncio.run(run())
