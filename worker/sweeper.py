"""The process that puts right what got lost: `python -m worker.sweeper`.

Every `reconcile_s` it takes back expired leases, ends jobs that waited too long, and rings again for jobs
that wait. Any number of sweepers may run: the database lets one sweep at a time.
"""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial

from domain import db, queue, sweep, workers
from domain.errors import Unavailable
from domain.settings import get_settings
from domain.sweep import SweepReport

log = logging.getLogger(__name__)
_STOP = {signal.SIGTERM, signal.SIGINT}


def main() -> int:
    """Sweeps until SIGTERM or SIGINT, which are looked at between two sweeps."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    every_s = get_settings().reconcile_s
    log.info("sweeping every %g s", every_s)
    while True:
        sweep_once()
        if signal.sigtimedwait(_STOP, every_s) is not None:
            return 0


def sweep_once() -> None:
    """One sweep. A database that is away is no reason to end."""
    try:
        report = sweep.run_once()
    except Unavailable as away:
        log.warning("nothing was swept: %s", away)
        return
    if report.ran:
        ring_canaries()
    if report != SweepReport(ran=report.ran):
        log.info("%s", report)


def ring_canaries() -> None:
    """Rings every worker alone that is due for it: one that hears none of these bells ends by itself."""
    try:
        with db.transaction() as session:
            for name in workers.due_canaries(session):
                db.after_commit(session, partial(queue.ring_worker, name))
    except Unavailable as away:
        log.warning("no worker was rung: %s", away)


if __name__ == "__main__":
    sys.exit(main())
