"""SIGINT and SIGTERM as flags: the first asks for an orderly end, the second for a quick one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """`stop` is set by the first signal, `hurry` by the second."""

    def __init__(self) -> None:
        self.stop, self.hurry = threading.Event(), threading.Event()

    def came(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        (self.hurry if self.stop.is_set() else self.stop).set()


@contextmanager
def caught() -> Iterator[Signals]:
    """Catches SIGINT, SIGTERM and SIGHUP inside the block. For the main thread alone."""
    signals = Signals()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signals.came) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
