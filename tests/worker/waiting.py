"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], *, within_s: float, what: str = "") -> None:
    """Returns as soon as `condition()` holds; fails when it does not within `within_s` seconds."""
    give_up_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within_s} s: {what or condition}"
        time.sleep(0.02)
