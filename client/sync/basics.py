"""What synchronous code does otherwise: streams, sleep and slow work. `client.aio.basics` is its counterpart."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Stream = Generator[Item, None, None]
"""What comes bit by bit, and can be closed before its end."""


def sleep(seconds: float) -> None:
    """Waits."""
    time.sleep(seconds)


def offload(work: Callable[[], Result]) -> Result:
    """What `work` returns."""
    return work()
