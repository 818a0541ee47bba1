"""Jobs side by side."""

from __future__ import annotations

from pydantic import JsonValue

from client.models.jobs import Verdict
from client.models.shared import Answer


class Remark(Answer):
    """Why jobs are not comparable, or what to know besides."""

    code: str
    detail: str


class SpecDifference(Answer):
    """A field of the specs that differs; one value a job, in their order."""

    pointer: str
    values: list[JsonValue]


class JobCurve(Answer):
    """The compared metric of one job."""

    job_id: str
    x: list[float]
    y: list[float | None]
    total: int = 0
    downsampled: bool = False


class AtEqual(Answer):
    """The first job beside another one at the same `x`. `delta` is the second one's value minus the
    first one's; by a verdict of "improved" the second one is better."""

    x: float
    jobs: tuple[str, str]
    values: tuple[float | None, float | None]
    delta: float | None = None
    delta_ci95: tuple[float, float] | None = None
    verdict: Verdict | None = None
    basis: str | None = None
    prompts: int = 0


class JobCost(Answer):
    """What one job has used so far."""

    job_id: str
    steps: int
    reward_queries: int
    evaluation_queries: int
    gpu_seconds: float
    wall_clock_s: float


class ComparedGuard(Answer):
    """A guard in every job; None for one that does not have it, or has no evaluation yet."""

    reward: str
    values: list[float | None]
    threshold: float | None = None
    ok: list[bool | None]


class ComparedSample(Answer):
    """Videos of one held-out prompt and seed: the base model's and one of every job."""

    prompt_id: str
    prompt: str
    seed: int
    base: str | None = None
    videos: list[str]
    scores: list[float]


class Comparison(Answer):
    """Jobs at equal spending, in the order that they were asked for."""

    jobs: list[str]
    key: str
    x: str
    comparable: bool
    reasons: list[Remark]
    caveats: list[Remark]
    spec_diff: list[SpecDifference]
    series: list[JobCurve]
    at_equal_x: list[AtEqual]
    cost: list[JobCost]
    guards: list[ComparedGuard]
    samples: list[ComparedSample]
