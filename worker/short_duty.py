"""What a worker does that runs short tasks: as one that trains, but for scorings or generations."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Generic

from domain import db
from domain.ids import to_public
from domain.settings import Settings
from domain.short_tasks import Row, ShortTasks
from domain.workers import WorkerKind
from worker import orphans
from worker.duty import Duty
from worker.short_attempt import ShortAttempt, Work

log = logging.getLogger(__name__)


class ShortDuty(Duty, Generic[Row]):
    """One per process, and no process has duties of two kinds: no kind of work delays another."""

    def __init__(
        self,
        tasks: ShortTasks[Row],
        work_of: Callable[[Row, Settings], Work],
        *,
        kind: WorkerKind,
        ring: Callable[[], None],
    ) -> None:
        super().__init__()
        self.kind = kind
        self._tasks = tasks
        self._work_of = work_of
        self._ring = ring

    def ring(self) -> None:
        self._ring()

    def run_one(self) -> bool:
        """Runs the task that is next. False: none waits."""
        orphans.reap()
        around = self.around()
        asked_at = time.monotonic()
        with db.transaction() as session:
            row = self._tasks.claim(session, worker=self.worker)
        if row is None:
            return False
        name = to_public(self._tasks.prefix, row.id)
        log.info("attempt %d of %s, trace %s", row.attempt, name, row.trace_id)

        def work(claimed: Row) -> Work:
            return self._work_of(claimed, around.settings)

        ShortAttempt(self._tasks, row, work, around, held_since=asked_at).run()
        return True
