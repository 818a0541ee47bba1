"""What one worker process does from start to end: look for jobs when a bell rings, run them one by one."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from domain import claims, db, queue, waiting_jobs, workers
from domain.claims import Claim
from domain.errors import Unavailable
from domain.ids import to_public
from domain.settings import get_settings
from domain.store import open_store
from domain.workers import WorkerKind
from worker import hardware, orphans, workspace
from worker.attempt import Attempt, Surroundings

log = logging.getLogger(__name__)
TELL_EVERY_S = 5.0
"""How often at the most a worker looks for jobs that only others can hold."""
EXIT_DEAF = 75
"""sysexits.h: EX_TEMPFAIL."""


class Duty:
    """One per process. Everything but the sign of life happens in the thread that Celery runs tasks in."""

    kind: WorkerKind = "training"
    """What this kind of worker works at."""

    def __init__(self) -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}"
        self._drain = threading.Event()
        self._busy = threading.Lock()
        self._left = False
        self._tell_at = 0.0

    def begin(self) -> None:
        """Clears away what a worker that died here left, shows that this one lives, and looks for work."""
        orphans.reap()
        workspace.remove_leftovers(get_settings().work_dir)
        threading.Thread(target=self._show_life, name="sign-of-life", daemon=True).start()
        self.ring()

    def ring(self) -> None:
        """Rings for the work of this kind of worker."""
        queue.ring()

    def end(self) -> None:
        """From now on nothing is claimed, and the running attempt goes back to the queue."""
        self._drain.set()

    def work_until_idle(self, bell: str) -> None:
        """Claims and runs jobs until none waits. A bell that nobody needed ends here, quietly."""
        ran = 0
        try:
            with self._busy:
                self._heard()
                while not self._drain.is_set() and self.run_one():
                    ran += 1
                if ran:
                    # Bells that rang meanwhile have expired unheard: from here on they count again.
                    self._heard()
        except Unavailable as away:
            log.warning("no look at the queue: %s The sweeper will ring again.", away)
        if not ran:
            log.info("nothing to do for the bell of %s", bell or "(any)")

    def _heard(self) -> None:
        with db.transaction() as session:
            workers.heard(session, worker=self.worker)

    def around(self) -> Surroundings:
        """What the next attempt works with."""
        settings = get_settings()
        return Surroundings(settings=settings, store=open_store(settings), drain=self._drain)

    def run_one(self) -> bool:
        """Runs the job that is next for this worker. False: none waits."""
        orphans.reap()
        around = self.around()
        asked_at = time.monotonic()
        claim = self._claim()
        if claim is None:
            return False
        log.info(
            "attempt %d of %s, trace %s",
            claim.attempt,
            to_public("job", claim.job_id),
            claim.trace_id,
        )
        Attempt(claim, around, held_since=asked_at).run()
        return True

    def _claim(self) -> Claim | None:
        """The job that is next. Where there is none, others hear of what this worker leaves."""
        with db.transaction() as session:
            claim = claims.claim(session, worker=self.worker, hardware=hardware.describe())
        if claim is None:
            self._left = True
            self._tell_of_left()
        return claim

    def _tell_of_left(self) -> None:
        """Rings for idle workers that can hold jobs which this one's GPU is too small for: the bell that told
        of them may have come here alone. Not more often than `TELL_EVERY_S`: then a sign of life does it."""
        if not self._left or time.monotonic() < self._tell_at:
            return
        self._left, self._tell_at = False, time.monotonic() + TELL_EVERY_S
        with db.read() as session:
            told = waiting_jobs.takers_of_left(session, hardware=hardware.describe())
        for worker in told:
            queue.ring_worker(worker)

    def _show_life(self) -> None:
        every_s = get_settings().heartbeat_s
        while True:
            try:
                described = hardware.describe()
                with db.transaction() as session:
                    workers.beat(session, worker=self.worker, hardware=described, kind=self.kind)
                self._tell_of_left()
                self._end_if_deaf()
            except Unavailable:
                log.warning("no sign of life: the database is away")
            if self._drain.wait(every_s):
                return

    def _end_if_deaf(self) -> None:
        """Ends this process when it waits for bells that do not reach it: whoever started it starts another.

        A broker's connection can break without a sound. An attempt that runs is never ended by this.
        """
        if not self._busy.acquire(blocking=False):
            return
        try:
            with db.read() as session:
                deaf = workers.is_deaf(session, worker=self.worker)
            if deaf:
                log.error(
                    "no bell has reached this worker for minutes: it ends, to be started again"
                )
                os._exit(EXIT_DEAF)
        finally:
            self._busy.release()
