"""Why and how a running trainer is stopped: asked first, killed when it does not come.

    cancelled   stop.json, it exports its adapter   killed after cancel_grace_s
    discarded   the adapter is not wanted           killed at once
    drained     SIGTERM, it writes a checkpoint     killed after drain_grace_s
    a ceiling   stop.json, it evaluates and exports killed after ceiling_grace_s
    hung        silent for too long                 killed at once

A later cause replaces an earlier one only when it is more urgent (that order).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal

from domain.claims import Claim
from domain.db import utc_now
from domain.settings import Settings
from worker.lease import Lease
from worker.limits import Ceiling, Patience, passed_ceiling
from worker.trainer_process import TrainerProcess

log = logging.getLogger(__name__)
Cause = Literal["cancelled", "discarded", "drained", "hung"] | Ceiling
_FINAL: frozenset[Cause] = frozenset({"cancelled", "discarded", "hung"})


class Stopping:
    """Looks, several times a second, whether the trainer must stop, and sees to it that it does."""

    def __init__(
        self,
        trainer: TrainerProcess,
        *,
        claim: Claim,
        lease: Lease,
        settings: Settings,
        drain: threading.Event,
        patience: Patience,
    ) -> None:
        self.cause: Cause | None = None
        self.killed = False
        self._trainer, self._claim, self._lease = trainer, claim, lease
        self._settings, self._drain, self._patience = settings, drain, patience
        self._started_at = time.monotonic()
        self._kill_at = float("inf")

    def look(self) -> None:
        """Finds a new cause, and kills a trainer whose time to come by itself is over."""
        if self.cause not in _FINAL:
            self._find_cause()
        if time.monotonic() >= self._kill_at and not self.killed:
            log.warning("%s: the trainer is killed (%s)", self._lease.name, self.cause)
            self.killed = True
            self._trainer.kill()

    def _find_cause(self) -> None:
        cancel = self._lease.cancel
        if cancel is not None and cancel.keep_adapter:
            self._ask("cancelled", self._settings.cancel_grace_s)
        elif cancel is not None:
            self._stop_within("discarded", 0)
        elif self._trainer.quiet_s() > self._patience.seconds:
            self._stop_within("hung", 0)
        elif self._drain.is_set():
            if self.cause != "drained":
                self._trainer.interrupt()
                self._stop_within("drained", self._settings.drain_grace_s)
        elif self.cause is None:
            elapsed_s = time.monotonic() - self._started_at
            ceiling = passed_ceiling(self._claim, elapsed_s=elapsed_s, now=utc_now())
            if ceiling is not None:
                self._ask(ceiling, self._settings.ceiling_grace_s)

    def _ask(self, reason: Literal["cancelled"] | Ceiling, grace_s: float) -> None:
        self._trainer.ask_to_stop(reason)
        self._stop_within(reason, grace_s)

    def _stop_within(self, cause: Cause, grace_s: float) -> None:
        log.info("%s: the trainer is to stop (%s)", self._lease.name, cause)
        self.cause, self._kill_at = cause, time.monotonic() + grace_s
