"""The memory of a tree of processes, measured while it runs."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil

_EVERY_S = 1.0


class PeakMemory:
    """The most memory that this process and all below it held at one time, sampled once a second.

    Pages shared between processes are counted once (proportional set size, as Linux measures it). Used
    as a context manager; `bytes` is the peak so far.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        own = psutil.Process()
        while not self._over.wait(_EVERY_S):
            tree = [own, *own.children(recursive=True)]
            self.bytes = max(self.bytes, sum(map(_held, tree)))


def _held(process: psutil.Process) -> int:
    try:
        held: int = process.memory_full_info().pss
    except psutil.Error:
        return 0
    return held
