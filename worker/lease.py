"""The right of one attempt to write: kept by heartbeats, given up by itself before others may take it.

Three clocks matter. The database's decides when the lease is over; this module never reads it. Our
monotonic clock says how long ago the last heartbeat was sent that the database confirmed; beyond
`self_fence_s` (shorter than the lease) the attempt stops its trainer by itself, because it can no longer
know that nobody else runs the job. Watching that clock is a thread of its own: a heartbeat may hang for
as long as the network likes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

from domain import claims, db
from domain.errors import StaleAttempt, Unavailable
from domain.ids import to_public
from domain.settings import Settings

log = logging.getLogger(__name__)
Result = TypeVar("Result")
CANCEL_LOOK_S = 1.0
FENCE_LOOK_S = 0.1
CLOSE_S = 5.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 5.0


class LeaseLost(Exception):
    """This attempt may not write any more; whatever it still holds is thrown away."""


class Lease:
    """The lease of (job, attempt). `held_since` is the monotonic time just before the claim."""

    def __init__(
        self,
        job_id: UUID,
        attempt: int,
        *,
        settings: Settings,
        held_since: float,
    ) -> None:
        self.job_id, self.attempt = job_id, attempt
        self.name = f"attempt {attempt} of {to_public('job', job_id)}"
        self._settings = settings
        self._confirmed_at = held_since
        self._on_lost: Callable[[], None] | None = None
        self._lost = threading.Event()
        self._closed = threading.Event()
        self._wish: claims.Heartbeat | None = None
        self._threads = [
            threading.Thread(target=self._beat, name="heartbeat", daemon=True),
            threading.Thread(target=self._watch, name="self-fence", daemon=True),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        for thread in self._threads:
            # Not for ever: a heartbeat may hang in a dead network.
            thread.join(CLOSE_S)

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    @property
    def cancel(self) -> claims.Heartbeat | None:
        """What was asked for, once a cancel was asked for."""
        wish = self._wish
        return wish if wish is not None and wish.cancel_requested else None

    @property
    def wishes(self) -> claims.Heartbeat | None:
        """What the job's record last said; None before the first look."""
        return self._wish

    def when_lost(self, stop: Callable[[], None]) -> None:
        """`stop` is called from a thread of the lease when it is lost; now, if it is lost already."""
        self._on_lost = stop
        if self.lost:
            stop()

    def write(self, change: Callable[..., Result], **arguments: object) -> Result:
        """`change(session, job_id=, attempt=, **arguments)` in one transaction of its own.

        While the database is away it tries again, for as long as the lease may be held. Raises
        `LeaseLost`, also when the database says that the attempt is no longer current.
        """
        pause_s = FIRST_RETRY_S
        while not self.lost:
            try:
                with db.transaction() as session:
                    return change(session, job_id=self.job_id, attempt=self.attempt, **arguments)
            except StaleAttempt as stale:
                self._lose(str(stale))
            except Unavailable:
                log.warning("%s waits for the database", self.name)
                self._lost.wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_RETRY_S)
        raise LeaseLost(self.name)

    def _beat(self) -> None:
        last_beat = -self._settings.heartbeat_s
        while not self._closed.is_set() and not self.lost:
            sent_at = time.monotonic()
            due = sent_at - last_beat >= self._settings.heartbeat_s
            try:
                self._ask(beat=due)
                if due:
                    last_beat = self._confirmed_at = sent_at
            except StaleAttempt as stale:
                self._lose(str(stale))
            except Unavailable:
                log.warning("%s: no heartbeat, the database is away", self.name)
            self._closed.wait(min(CANCEL_LOOK_S, self._settings.heartbeat_s))

    def _ask(self, *, beat: bool) -> None:
        with db.transaction() as session:
            ask = claims.heartbeat if beat else claims.wishes
            self._wish = ask(session, job_id=self.job_id, attempt=self.attempt)

    def _watch(self) -> None:
        while not self._closed.wait(FENCE_LOOK_S) and not self.lost:
            silent_s = time.monotonic() - self._confirmed_at
            if silent_s > self._settings.self_fence_s:
                self._lose(f"no heartbeat was confirmed for {silent_s:.0f} s")

    def _lose(self, why: str) -> None:
        if self._closed.is_set() or self.lost:
            return
        log.error("%s gives up its lease: %s", self.name, why)
        self._lost.set()
        if self._on_lost is not None:
            self._on_lost()
