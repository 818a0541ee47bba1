"""When a job's ceilings will be reached at its present pace. Pure.

The pace is that of the newest step, queries a step are the job's mean, and a training holds one device.
What comes between the steps (evaluations, checkpoints) is left out, so ceilings of time come a little
earlier than said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from domain.tables import Job


class Ceiling(NamedTuple):
    """`limit` None: not limited. Steps, queries and seconds as numbers, cost as an amount; the
    deadline's limit are the seconds from creation to it. `fraction` is used / limit."""

    name: str
    limit: float | None
    used: float

    @property
    def fraction(self) -> float | None:
        return None if self.limit is None else self.used / self.limit

    @property
    def left(self) -> float | None:
        """What may still be used, at least 0; None where nothing is limited."""
        return None if self.limit is None else max(self.limit - self.used, 0.0)


def seconds_left(job: Job, ceilings: Mapping[str, Ceiling]) -> dict[str, float]:
    """The seconds of training until each ceiling that limits a training job; {} before its first step."""
    step_s = (job.latest_metrics or {}).get("seconds")
    if not step_s or not job.step:
        return {}
    cost_a_second = ceilings["max_cost"].used / job.gpu_seconds if job.gpu_seconds else 0.0
    a_second = {
        "max_steps": 1 / step_s,
        "max_reward_queries": job.reward_queries / job.step / step_s,
        "max_gpu_seconds": 1.0,
        "max_wall_clock_s": 1.0,
        "deadline_at": 1.0,
        "max_cost": cost_a_second,
    }
    left = {name: ceilings[name].left for name in a_second}
    return {
        name: amount / a_second[name]
        for name, amount in left.items()
        if amount is not None and a_second[name] > 0
    }


def first(seconds: Mapping[str, float], fallback: Iterable[Ceiling]) -> str:
    """The ceiling that comes first; without a pace, that of which the largest part is used."""
    if seconds:
        return min(seconds, key=lambda name: seconds[name])
    return max(fallback, key=lambda ceiling: ceiling.fraction or 0.0).name


def steps_at_stop(job: Job, stop_in_s: float) -> int:
    """At which step the job will be when `stop_in_s` seconds of training have passed."""
    step_s = (job.latest_metrics or {}).get("seconds") or 0.0
    return job.step + int(stop_in_s / step_s) if step_s else job.step


def in_words(seconds: float) -> str:
    """A duration for people: 45s, 12m, 2h24m, 3d4h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h{minutes:02d}m"
    return f"{hours // 24}d{hours % 24}h"
