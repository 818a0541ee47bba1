"""The supervisor's own look at a budget's times and at silence. Pure: every time is an argument.

The trainer keeps the ceilings itself and leaves room for its final evaluation; this is the backstop
for a trainer that does not come to its next step in time.
"""

from __future__ import annotations

import statistics
from collections import deque
from datetime import datetime
from typing import Literal, get_args

from domain.claims import Claim
from vader_core.present_budget import Ceilings

Ceiling = Literal["gpu_seconds", "wall_clock", "deadline", "cost"]
CEILINGS: frozenset[str] = frozenset(get_args(Ceiling))
HANG_STEPS = 20
_REMEMBERED_STEPS = 101


def passed_ceiling(
    claim: Claim, ceilings: Ceilings, *, elapsed_s: float, now: datetime
) -> Ceiling | None:
    """The one of the present `ceilings` that this attempt has passed, `elapsed_s` after its trainer's start.

    A trainer holds one device for as long as it runs.
    """
    budget = ceilings.budget
    gpu_seconds = claim.spent_gpu_seconds + elapsed_s
    limits: list[tuple[Ceiling, float | None, float]] = [
        ("gpu_seconds", budget.max_gpu_seconds, gpu_seconds),
        ("wall_clock", budget.max_wall_clock_s, claim.spent_wall_clock_s + elapsed_s),
        ("cost", ceilings.cost_gpu_seconds, gpu_seconds),
    ]
    for ceiling, limit, used in limits:
        if limit is not None and used >= limit:
            return ceiling
    return "deadline" if budget.deadline_at is not None and now >= budget.deadline_at else None


class Patience:
    """How long a trainer may be silent: `hang_min_s`, or 20 median steps where that is longer."""

    def __init__(self, hang_min_s: float) -> None:
        self._hang_min_s = hang_min_s
        self._step_seconds: deque[float] = deque(maxlen=_REMEMBERED_STEPS)

    def saw_step(self, seconds: float) -> None:
        self._step_seconds.append(seconds)

    @property
    def seconds(self) -> float:
        if not self._step_seconds:
            return self._hang_min_s
        return max(self._hang_min_s, HANG_STEPS * statistics.median(self._step_seconds))
