"""Writes the trainer's lines to the job's record: in order, in batches, never much behind."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Self

from domain.db import utc_now
from vader_core.lines import AnyLine, Warned

LOOK_S = 0.2
BATCH_S = 0.5
"""How long a batch is collected. With the write itself a line is visible within a second."""


class Forwarder:
    """Hands lines to `record` in its own thread, so that a slow database never slows the trainer."""

    def __init__(self, record: Callable[[list[AnyLine]], None]) -> None:
        self._record = record
        self._items: queue.SimpleQueue[AnyLine | threading.Event] = queue.SimpleQueue()
        self._end, self._over = threading.Event(), threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._items.put(self._end)

    def put(self, line: AnyLine) -> None:
        self._items.put(line)

    def warn(self, code: str, message: str) -> None:
        """Adds a warning of the worker's own to the trainer's lines."""
        self.put(Warned(at=utc_now(), step=0, code=code, message=message))

    def wait_until_written(self) -> None:
        """Returns when every line put so far is written. Raises what `record` raised."""
        written = threading.Event()
        self._items.put(written)
        while not written.wait(LOOK_S) and not self._over.is_set():
            pass
        self.raise_failure()

    def finish(self) -> None:
        """Writes what is left and ends. Raises what `record` raised."""
        self._items.put(self._end)
        self._thread.join()
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raises what `record` raised, if it did: nothing is written any more after that."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            mark: threading.Event | None = None
            while mark is not self._end:
                batch, mark = self._next_batch()
                if batch:
                    self._record(batch)
                if mark is not None:
                    mark.set()
        except Exception as failure:
            self._failure = failure
        finally:
            self._over.set()

    def _next_batch(self) -> tuple[list[AnyLine], threading.Event | None]:
        """Waits for a line and collects what follows it, up to a mark that somebody waits for."""
        item = self._items.get()
        batch: list[AnyLine] = []
        until = time.monotonic() + BATCH_S
        while not isinstance(item, threading.Event):
            batch.append(item)
            try:
                item = self._items.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return batch, None
        return batch, item
