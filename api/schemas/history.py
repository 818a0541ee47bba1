"""What a job leaves behind while it runs: events, metrics, evaluations, attempts."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, JsonValue

from api.schemas.shared import At, Page, Shape
from domain.metrics import Axis, Curve
from domain.tables import Attempt, Evaluation
from vader_core.lines import GuardResult, PairsNeeded, RewardDifference, Verdict


class EventShape(Shape):
    """One numbered line of a job's history: the same object in the list and in the stream.

    `api.event_json` writes it.
    """

    id: str
    object: Literal["event"] = "event"
    job_id: str
    seq: int = Field(description="Counts from 1 without gaps; the `id` of the stream.")
    type: str = Field(description="The set is open.", examples=["job.metric"])
    level: Literal["info", "warning", "error"]
    at: At
    attempt: int | None
    step: int | None
    message: str
    data: dict[str, JsonValue]


class EventPage(Page[EventShape]):
    """Events by `seq`. The cursor is the last `seq`: give it back as `after`."""


class FeedPage(EventPage):
    """A project's events in an order that skips none. Give a cursor back as `after`."""

    resume_after: str = Field(
        description="The place after this page, also at the end: what comes later is after it."
    )


class Series(Shape):
    """One metric over the chosen axis, by step. `y` is null where a value is no number.

    Of a long curve, the first and the last point and the lowest and highest of every stretch are shown.
    """

    key: str
    x: list[float]
    y: list[float | None]
    total: int = Field(description="Points there are between `from` and `to`.")
    downsampled: bool = Field(description="Whether some of them are left out.")

    @staticmethod
    def of(curve: Curve, x: Axis) -> Series:
        return Series(
            key=curve.key,
            x=[getattr(point, x) for point in curve.points],
            y=[finite(point.value) for point in curve.points],
            total=curve.total,
            downsampled=len(curve.points) < curve.total,
        )


def finite(value: float) -> float | None:
    """`value`, or None for what JSON cannot say: NaN and the infinities."""
    return value if math.isfinite(value) else None


class MetricsShape(Shape):
    """The curves of a job."""

    object: Literal["metrics"] = "metrics"
    job_id: str
    x: Axis
    method: Literal["min_max_buckets"] = Field(
        default="min_max_buckets",
        description="How long curves are thinned: equally many points a bucket, its lowest and its "
        "highest stay.",
    )
    downsampled: bool = Field(description="Whether any of the series is.")
    series: list[Series]


class EvaluationRound(Shape):
    """One evaluation on the held-out prompts and fixed seeds.

    `adapter_step` is the step whose adapter was evaluated, where an early stop went back to one.
    """

    kind: Literal["base", "periodic", "final"]
    step: int
    adapter_step: int | None = None
    pairs: int
    heldout_reward: float
    baseline_heldout_reward: float
    difference: RewardDifference | None
    per_reward: dict[str, RewardDifference]
    guards: list[GuardResult]
    verdict: Verdict | None
    pairs_needed: PairsNeeded | None = None
    evaluation_queries: int
    seconds: float
    at: At

    @staticmethod
    def of(row: Evaluation) -> EvaluationRound:
        data: dict[str, Any] = {
            name: row.data[name] for name in EvaluationRound.model_fields if name in row.data
        }
        return EvaluationRound.model_validate(data)


class EvaluationShape(Shape):
    """All evaluations of a job, oldest first; `final` is the one that its verdict stands on."""

    object: Literal["evaluation"] = "evaluation"
    job_id: str
    verdict: Verdict | None
    final: EvaluationRound | None
    rounds: list[EvaluationRound]


class AttemptShape(Shape):
    """One try of one worker."""

    object: Literal["attempt"] = "attempt"
    number: int
    hardware: str
    code_version: str | None = Field(description="The version of the service that ran it.")
    started_at: At
    last_heartbeat_at: At
    ended_at: At | None
    outcome: str | None = Field(
        description="succeeded, failed, cancelled, lost or released; null while it runs."
    )
    error: dict[str, JsonValue] | None
    resumed_from_step: int | None
    last_step: int
    environment: dict[str, JsonValue] | None

    @staticmethod
    def of(row: Attempt) -> AttemptShape:
        return AttemptShape(
            number=row.number,
            hardware=row.hardware,
            code_version=row.code_version,
            started_at=row.started_at,
            last_heartbeat_at=row.last_heartbeat_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            error=row.error,
            resumed_from_step=row.resumed_from_step,
            last_step=row.last_step,
            environment=row.environment,
        )


class AttemptPage(Page[AttemptShape]):
    """All attempts of a job, first to latest."""
