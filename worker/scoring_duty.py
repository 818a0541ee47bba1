"""What a worker does that tries rewards on videos: as one that trains, but for scorings."""

from __future__ import annotations

import logging
import time

from domain import db, queue, scorings
from domain.ids import to_public
from worker import orphans
from worker.duty import Duty
from worker.scoring import ScoringAttempt

log = logging.getLogger(__name__)


class ScoringDuty(Duty):
    """One per process, and no process has a `Duty` of both kinds: neither kind of work delays the other."""

    def ring(self) -> None:
        queue.ring_scorer()

    def run_one(self) -> bool:
        """Runs the scoring that is next. False: none waits."""
        orphans.reap()
        around = self.around()
        asked_at = time.monotonic()
        with db.transaction() as session:
            claim = scorings.claim(session, worker=self.worker)
        if claim is None:
            return False
        name = to_public("scr", claim.scoring_id)
        log.info("attempt %d of %s, trace %s", claim.attempt, name, claim.trace_id)
        ScoringAttempt(claim, around, held_since=asked_at).run()
        return True
