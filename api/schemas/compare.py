"""Jobs side by side, as clients see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from api.schemas.history import finite
from api.schemas.shared import Shape
from domain import ids
from domain.compare import Comparison, Guards, SamplePair
from domain.compare_at import AtX
from domain.compare_specs import Difference, Remark
from domain.metrics import Axis, Curve
from domain.tables import Job, Sample
from vader_core.lines import GuardRule, Verdict


class JobSeries(Shape):
    """One job's curve."""

    job_id: str
    x: list[float]
    y: list[float | None]
    total: int
    downsampled: bool

    @staticmethod
    def of(job: Job, curve: Curve, x: Axis) -> JobSeries:
        return JobSeries(
            job_id=ids.to_public("job", job.id),
            x=[getattr(point, x) for point in curve.points],
            y=[finite(point.value) for point in curve.points],
            total=curve.total,
            downsampled=len(curve.points) < curve.total,
        )


class AtEqualX(Shape):
    """The first job beside another one at the same `x`: for each of them, the newest value that was
    measured there or before. Nothing is extrapolated."""

    x: float
    jobs: tuple[str, str]
    values: tuple[float | None, float | None]
    measured_at: tuple[float, float] = Field(
        description="Where along `x` the values were measured."
    )
    steps: tuple[int, int]
    delta: float | None = Field(
        description="The second job's held-out score minus the first one's."
    )
    delta_ci95: tuple[float, float] | None
    verdict: Verdict | None = Field(
        description="improved: the second job is better than the first. Null where there is no interval."
    )
    basis: Literal["paired", "unpaired"] | None = Field(
        description="paired: over the held-out videos that both have scored. unpaired: they share none."
    )
    prompts: int = Field(description="Held-out prompts that the interval rests on.")

    @staticmethod
    def of(found: AtX) -> AtEqualX:
        values = found.values
        difference = found.difference
        return AtEqualX(
            x=found.x,
            jobs=(ids.to_public("job", found.jobs[0]), ids.to_public("job", found.jobs[1])),
            values=(finite(values[0]), finite(values[1])),
            measured_at=found.measured_at,
            steps=found.steps,
            delta=finite(values[1] - values[0]) if difference is None else difference.delta,
            delta_ci95=None if difference is None else difference.delta_ci95,
            verdict=found.verdict,
            basis=found.basis,
            prompts=found.prompts,
        )


class JobCost(Shape):
    """What a job has used so far."""

    job_id: str
    steps: int
    reward_queries: int
    evaluation_queries: int
    gpu_seconds: float
    wall_clock_s: float = Field(description="Of the attempts that have ended.")

    @staticmethod
    def of(job: Job) -> JobCost:
        return JobCost(
            job_id=ids.to_public("job", job.id),
            steps=job.step,
            reward_queries=job.reward_queries,
            evaluation_queries=job.evaluation_queries,
            gpu_seconds=job.gpu_seconds,
            wall_clock_s=job.wall_clock_s,
        )


class GuardComparison(Shape):
    """One guard at the jobs' newest evaluations; null for a job that does not have it, or has none yet.

    By the rule `ratio` a value is the mean as a part of the base model's and must not be below the
    threshold; by `drop` it is the fall in standard deviations and must not be above it.
    """

    reward: str
    rules: list[GuardRule | None]
    values: list[float | None]
    threshold: float | None = Field(description="Where it is the same for all jobs that have it.")
    ok: list[bool | None]

    @staticmethod
    def of(guards: Guards) -> GuardComparison:
        results = guards.results
        thresholds = {
            result.min_ratio_to_base if result.rule == "ratio" else result.max_drop
            for result in results
            if result is not None
        }
        return GuardComparison(
            reward=guards.reward,
            rules=[None if result is None else result.rule for result in results],
            values=[
                None
                if result is None
                else (result.ratio_to_base if result.rule == "ratio" else result.drop)
                for result in results
            ],
            threshold=thresholds.pop() if len(thresholds) == 1 else None,
            ok=[None if result is None else result.ok for result in results],
        )


class SampleComparison(Shape):
    """The same held-out prompt and seed by the base model and by every job. Links need the API key."""

    prompt_id: str
    prompt: str
    seed: int
    base: str | None
    videos: list[str]
    scores: list[float]
    steps: list[int]

    @staticmethod
    def of(pair: SamplePair) -> SampleComparison:
        first = pair.videos[0]
        return SampleComparison(
            prompt_id=first.prompt_id,
            prompt=first.prompt,
            seed=first.seed,
            base=None if pair.base is None else _video(pair.base),
            videos=[_video(sample) for sample in pair.videos],
            scores=[sample.score for sample in pair.videos],
            steps=[sample.step for sample in pair.videos],
        )


class ComparisonShape(Shape):
    """Jobs side by side, everything in the order that they were asked for."""

    object: Literal["comparison"] = "comparison"
    jobs: list[str]
    key: str
    x: Axis
    comparable: bool = Field(description="Whether their results by `key` say which one is better.")
    reasons: list[Remark] = Field(description="Why they are not comparable.")
    caveats: list[Remark] = Field(description="What to know besides.")
    spec_diff: list[Difference]
    series: list[JobSeries]
    at_equal_x: list[AtEqualX] = Field(
        description="The first job beside each other one, where all were measured, and at the largest `x` "
        "that all have reached."
    )
    cost: list[JobCost]
    guards: list[GuardComparison]
    samples: list[SampleComparison]

    @staticmethod
    def of(found: Comparison, *, key: str, x: Axis) -> ComparisonShape:
        return ComparisonShape(
            jobs=_public(found.jobs),
            key=key,
            x=x,
            comparable=not found.reasons,
            reasons=found.reasons,
            caveats=found.caveats,
            spec_diff=found.spec_diff,
            series=[
                JobSeries.of(job, curve, x)
                for job, curve in zip(found.jobs, found.curves, strict=True)
            ],
            at_equal_x=[AtEqualX.of(place) for place in found.at_equal_x],
            cost=[JobCost.of(job) for job in found.jobs],
            guards=[GuardComparison.of(guards) for guards in found.guards],
            samples=[SampleComparison.of(pair) for pair in found.samples],
        )


def _public(jobs: Sequence[Job]) -> list[str]:
    return [ids.to_public("job", job.id) for job in jobs]


def _video(sample: Sample) -> str:
    return f"/v1/samples/{ids.to_public('smp', sample.id)}/video"
