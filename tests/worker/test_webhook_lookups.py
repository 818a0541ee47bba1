"""Look-ups in threads: names that hang cost their own project alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from uuid import uuid4

import pytest

from worker import webhook_lookups
from worker.webhook_lookups import Address, Lookups

FOUND = [ip_address("93.184.215.14")]


def test_the_systems_resolver_is_asked() -> None:
    async def localhost() -> Sequence[Address]:
        return await Lookups().of(uuid4())("localhost", 80)

    assert ip_address("127.0.0.1") in asyncio.run(localhost())


def test_names_that_hang_leave_threads_for_other_projects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_lookups, "THREADS", 4)
    monkeypatch.setattr(webhook_lookups, "PER_PROJECT", 2)
    answering, asked = threading.Event(), []

    def look_up(host: str, _port: int) -> Sequence[Address]:
        asked.append(host)
        if host == "hangs":
            assert answering.wait(30)
        return FOUND

    async def scene() -> None:
        lookups = Lookups(look_up)
        slow, quick = lookups.of(uuid4()), lookups.of(uuid4())
        for _ in range(4):
            # The tries give up, their look-ups go on.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(slow("hangs", 443), 0.05)
        assert await quick("other", 443) == FOUND
        assert asked == ["hangs", "hangs", "other"]
        answering.set()
        # What has ended makes room again.
        assert await slow("good", 443) == FOUND
        lookups.close()

    asyncio.run(asyncio.wait_for(scene(), 30))
