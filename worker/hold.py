"""The right of one attempt at a short task to write, kept by heartbeats which the attempt's own loop sends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from domain import db
from domain.errors import StaleAttempt, Unavailable
from domain.ids import to_public
from domain.settings import Settings
from domain.short_tasks import Row, ShortTasks

log = logging.getLogger(__name__)
RETRY_S = 0.5


class HoldLost(Exception):
    """This attempt may not write any more; whatever it still has is thrown away."""


class Hold:
    """Of the attempt that `row` is in. `held_since` is the monotonic time just before the claim."""

    def __init__(
        self, tasks: ShortTasks[Row], row: Row, settings: Settings, *, held_since: float
    ) -> None:
        self.name = f"attempt {row.attempt} of {to_public(tasks.prefix, row.id)}"
        self.row_id: UUID = row.id
        self.attempt = row.attempt
        self._heartbeat = tasks.heartbeat
        self._settings = settings
        self._asked_at = self._confirmed_at = held_since

    def keep(self) -> None:
        """Sends a heartbeat if one is due. Raises `HoldLost`."""
        now = time.monotonic()
        if now - self._asked_at < self._settings.heartbeat_s:
            return
        self._asked_at = now
        try:
            self._change(self._heartbeat)
            self._confirmed_at = now
        except Unavailable:
            log.warning("%s: no heartbeat, the database is away", self.name)
            self._require()

    def write(self, change: Callable[..., object], **arguments: Any) -> None:
        """`change(session, row_id=, attempt=, **arguments)` in a transaction of its own.

        While the database is away it tries again, for as long as it may. Raises `HoldLost`.
        """
        while True:
            try:
                return self._change(change, **arguments)
            except Unavailable:
                log.warning("%s waits for the database", self.name)
                self._require()
                time.sleep(RETRY_S)

    def _change(self, change: Callable[..., object], **arguments: Any) -> None:
        try:
            with db.transaction() as session:
                change(session, row_id=self.row_id, attempt=self.attempt, **arguments)
        except StaleAttempt as stale:
            raise HoldLost(self.name) from stale

    def _require(self) -> None:
        """Others may take the task soon after `self_fence_s` without a confirmed heartbeat."""
        if time.monotonic() - self._confirmed_at > self._settings.self_fence_s:
            raise HoldLost(self.name)
