"""What a person wants to know of a running job, gathered from its events. No input or output here."""

from __future__ import annotations

from collections import deque
from datetime import datetime

from pydantic import JsonValue

from client.models import Event, Job

_STEPS_FOR_PACE = 20


class Tracker:
    """The state of a job as its events tell it.

    `reward` is of the last step, `heldout_reward` of the last evaluation and `baseline_heldout_reward`
    of the base model; all None until known.
    """

    def __init__(self, job: Job) -> None:
        self.job_id, self.phase = job.id, job.phase or job.status
        self.step = 0
        limit = job.budget.steps.limit
        self.steps_total = int(limit) if limit else None
        self.reward: float | None = None
        self.heldout_reward: float | None = None
        self.baseline_heldout_reward: float | None = None
        self._budget, self._started_at = job.budget, job.started_at
        self._reward_queries, self._gpu_seconds = 0.0, 0.0
        self._now = job.created_at
        self._times: deque[tuple[int, datetime]] = deque(maxlen=_STEPS_FOR_PACE)

    def take(self, event: Event) -> None:
        """Notes what the event tells."""
        self._now = event.at
        if event.type == "job.metric":
            self._take_step(event)
        elif event.type == "job.evaluation_done":
            self.heldout_reward = _number(event.data.get("heldout_reward"))
            self.baseline_heldout_reward = _number(event.data.get("baseline_heldout_reward"))
        elif event.type == "job.phase_changed":
            self.phase = str(event.data.get("phase") or self.phase)
        elif event.type in {"job.started", "job.attempt_restarted"}:
            self._started_at = self._started_at or event.at
            self._times.clear()
        elif event.terminal:
            self.phase = event.type.removeprefix("job.")

    @property
    def queries_left(self) -> int | None:
        """Reward queries left of the budget; None where it has no such ceiling."""
        limit = self._budget.reward_queries.limit
        return None if limit is None else max(0, int(limit - self._reward_queries))

    @property
    def seconds_left(self) -> float | None:
        """Seconds left until the nearest ceiling in time; None where there is none."""
        left: list[float] = []
        gpu, wall = self._budget.gpu_seconds.limit, self._budget.wall_clock_s.limit
        if gpu is not None:
            left.append(gpu - self._gpu_seconds)
        if wall is not None:
            begun = self._started_at or self._now
            left.append(wall - (self._now - begun).total_seconds())
        if self._budget.deadline_at is not None:
            left.append((self._budget.deadline_at - self._now).total_seconds())
        return max(0.0, min(left)) if left else None

    @property
    def eta_s(self) -> float | None:
        """Seconds to the last step at the pace of the latest ones; None before there is a pace."""
        if self.steps_total is None or len(self._times) < 2:
            return None
        (first, begun), (last, now) = self._times[0], self._times[-1]
        if last <= first:
            return None
        pace = (now - begun).total_seconds() / (last - first)
        return max(0, self.steps_total - self.step) * pace

    def _take_step(self, event: Event) -> None:
        self.step = event.step or self.step
        self.reward = _number(event.data.get("reward"))
        self._reward_queries = _number(event.data.get("reward_queries")) or self._reward_queries
        self._gpu_seconds = _number(event.data.get("gpu_seconds")) or self._gpu_seconds
        self._times.append((self.step, event.at))


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None
