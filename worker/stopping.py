"""Why and how a running trainer is stopped: asked first, killed when it does not come.

    cancelled   stop.json, it exports its adapter   killed after cancel_grace_s
    discarded   the adapter is not wanted           killed at once
    hung        silent for too long                 killed at once
    paused      SIGTERM, it writes a checkpoint     killed after pause_grace_s
    drained     SIGTERM, it writes a checkpoint     killed after drain_grace_s
    a ceiling   stop.json, it evaluates and exports killed after ceiling_grace_s
                (or writes a checkpoint, where the budget says to pause)

A later cause replaces an earlier one only when it is more urgent (that order); a worker that ends never
waits longer than drain_grace_s. On the way the trainer is told of every change of the budget.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Literal

from domain.claims import Claim
from domain.db import utc_now
from domain.settings import Settings
from vader_core.present_budget import Ceilings
from vader_core.spec import Budget
from worker.lease import Lease
from worker.limits import CEILINGS, Ceiling, Patience, passed_ceiling
from worker.trainer_process import TrainerProcess

log = logging.getLogger(__name__)
Cause = Literal["cancelled", "discarded", "hung", "paused", "drained"] | Ceiling
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
        self.stopped_by: Budget | None = None
        self._trainer, self._claim, self._lease = trainer, claim, lease
        self._settings, self._drain, self._patience = settings, drain, patience
        self._ceilings = Ceilings(budget=claim.budget, cost_gpu_seconds=claim.cost_gpu_seconds)
        self._started_at = time.monotonic()
        self._kill_at = float("inf")
        self._at_the_latest = float("inf")

    @property
    def pauses_at_ceilings(self) -> bool:
        """Whether the present budget says to pause at a ceiling, instead of finishing."""
        return self._ceilings.budget.on_exhausted == "pause"

    def look(self) -> None:
        """Finds a new cause, and kills a trainer whose time to come by itself is over."""
        self._pass_on_budget()
        if self.cause not in _FINAL:
            self._find_cause()
        self._hurry_if_draining()
        if time.monotonic() >= self._kill_at and not self.killed:
            log.warning("%s: the trainer is killed (%s)", self._lease.name, self.cause)
            self.killed = True
            self._trainer.kill()

    def _pass_on_budget(self) -> None:
        wishes = self._lease.wishes
        if wishes is None:
            return
        now = Ceilings(budget=wishes.budget, cost_gpu_seconds=wishes.cost_gpu_seconds)
        if now != self._ceilings:
            log.info("%s: the budget has changed", self._lease.name)
            self._ceilings = now
            self._trainer.tell_budget(now)
            self._forget_a_raised_ceiling()

    def _forget_a_raised_ceiling(self) -> None:
        """A ceiling that no longer holds is no cause any more, unless the trainer was killed for it."""
        if self.cause in CEILINGS and not self.killed and self._passed_ceiling() is None:
            log.info("%s: the trainer may go on", self._lease.name)
            self._trainer.take_back_stop()
            self.cause, self.stopped_by, self._kill_at = None, None, float("inf")

    def _passed_ceiling(self) -> Ceiling | None:
        elapsed_s = time.monotonic() - self._started_at
        return passed_ceiling(self._claim, self._ceilings, elapsed_s=elapsed_s, now=utc_now())

    def _find_cause(self) -> None:
        cancel = self._lease.cancel
        if cancel is not None and cancel.keep_adapter:
            self._ask("cancelled", self._settings.cancel_grace_s)
        elif cancel is not None:
            self._stop_within("discarded", 0)
        elif self._trainer.quiet_s() > self._patience.seconds:
            self._stop_within("hung", 0)
        elif self._lease.wishes is not None and self._lease.wishes.pause_requested:
            self._interrupt("paused", self._settings.pause_grace_s)
        elif self._drain.is_set():
            self._interrupt("drained", self._settings.drain_grace_s)
        elif self.cause is None:
            ceiling = self._passed_ceiling()
            if ceiling is not None:
                self.stopped_by = self._ceilings.budget
                self._ask(ceiling, self._settings.ceiling_grace_s)

    def _interrupt(self, cause: Literal["paused", "drained"], grace_s: float) -> None:
        if self.cause != cause:
            self._trainer.interrupt()
            self._stop_within(cause, grace_s)

    def _hurry_if_draining(self) -> None:
        if self._drain.is_set() and self._at_the_latest == float("inf"):
            self._at_the_latest = time.monotonic() + self._settings.drain_grace_s
        # A cause that came later may have its own, longer time.
        self._kill_at = min(self._kill_at, self._at_the_latest)

    def _ask(self, reason: Literal["cancelled"] | Ceiling, grace_s: float) -> None:
        self._trainer.ask_to_stop(reason)
        self._stop_within(reason, grace_s)

    def _stop_within(self, cause: Cause, grace_s: float) -> None:
        log.info("%s: the trainer is to stop (%s)", self._lease.name, cause)
        self.cause, self._kill_at = cause, time.monotonic() + grace_s
