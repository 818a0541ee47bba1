"""The ceilings of a budget: is there enough left for one more step? Free of torch.

Time ceilings keep back what the final evaluation and the export will need, and a periodic evaluation that
is due before the next step, estimated from the base evaluation, which samples the same videos. How long
a step takes is known after the first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from vader_core.lines import StopReason
from vader_core.spec import Budget

# The adapter makes sampling a little slower than the base evaluation was; writing videos, sheet and
# adapter takes some seconds more.
_EVALUATION_MARGIN = 1.25
_EXPORT_S = 3.0


@dataclass(frozen=True)
class Spent:
    """What earlier attempts used up, and what GPU-seconds the money buys (None: no such ceiling)."""

    gpu_seconds: float = 0.0
    wall_clock_s: float = 0.0
    cost_gpu_seconds: float | None = None
    reward_queries: int = 0
    evaluation_queries: int = 0


class Clock:
    """Seconds used by a job: those of this process since `started` and those spent before.

    `started` is a reading of `time.monotonic()`. A run holds `devices` devices all the time.
    """

    def __init__(self, spent: Spent, *, started: float, devices: int = 1) -> None:
        self._spent, self._started, self._devices = spent, started, devices

    def count_earlier(self, *, gpu_seconds: float, wall_clock_s: float) -> None:
        """Takes over what a checkpoint says was spent, where that is more than is known already."""
        self._spent = Spent(
            gpu_seconds=max(self._spent.gpu_seconds, gpu_seconds),
            wall_clock_s=max(self._spent.wall_clock_s, wall_clock_s),
            cost_gpu_seconds=self._spent.cost_gpu_seconds,
        )

    @property
    def gpu_seconds(self) -> float:
        return self._spent.gpu_seconds + self._devices * (time.monotonic() - self._started)

    @property
    def wall_clock_s(self) -> float:
        return self._spent.wall_clock_s + time.monotonic() - self._started

    @property
    def cost_gpu_seconds(self) -> float | None:
        return self._spent.cost_gpu_seconds


@dataclass(frozen=True)
class Used:
    """What a job has used so far, how long things take it, and whether an evaluation comes before the next step."""

    steps: int
    reward_queries: int
    gpu_seconds: float
    wall_clock_s: float
    now: datetime
    queries_per_step: int
    seconds_per_step: float
    base_evaluation_s: float
    evaluation_due: bool


def reached(budget: Budget, used: Used, *, cost_gpu_seconds: float | None) -> StopReason | None:
    """The ceiling that forbids another step, None if there is room for one. Counts come before times."""
    if used.steps >= budget.max_steps:
        return "completed_steps"
    queries = used.reward_queries + used.queries_per_step
    if budget.max_reward_queries is not None and queries > budget.max_reward_queries:
        return "reward_queries"
    evaluations_s = (2 if used.evaluation_due else 1) * _EVALUATION_MARGIN * used.base_evaluation_s
    needed_s = used.seconds_per_step + evaluations_s + _EXPORT_S
    time_left: list[tuple[StopReason, float | None]] = [
        ("gpu_seconds", _left(budget.max_gpu_seconds, used.gpu_seconds)),
        ("wall_clock", _left(budget.max_wall_clock_s, used.wall_clock_s)),
        ("deadline", _until(budget.deadline_at, used.now)),
        ("cost", _left(cost_gpu_seconds, used.gpu_seconds)),
    ]
    for reason, left_s in time_left:
        if left_s is not None and left_s < needed_s:
            return reason
    return None


def utc_now() -> datetime:
    return datetime.now(UTC)


def _left(ceiling: float | None, used: float) -> float | None:
    return None if ceiling is None else ceiling - used


def _until(deadline: datetime | None, now: datetime) -> float | None:
    return None if deadline is None else (deadline - now).total_seconds()
