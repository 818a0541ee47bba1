"""What a job leaves behind while it runs: events, metrics, evaluations, attempts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, JsonValue

from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.tables import Attempt, Evaluation, Event, MetricPoint
from vader_core.lines import GuardResult, PairsNeeded, RewardDifference, Verdict

Axis = Literal["step", "reward_queries", "gpu_seconds", "wall_s"]


class EventShape(Shape):
    """One numbered line of a job's history: the same object in the list and in the stream."""

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

    @staticmethod
    def of(event: Event) -> EventShape:
        return EventShape.model_validate(
            {
                "id": ids.to_public("evt", event.id),
                "job_id": ids.to_public("job", event.job_id),
                "seq": event.seq,
                "type": event.type,
                "level": event.level,
                "at": event.at,
                "attempt": event.attempt or None,
                "step": event.step,
                "message": event.message,
                "data": event.data,
            }
        )


class EventPage(Page[EventShape]):
    """Events by `seq`. The cursor is the last `seq`: give it back as `after`."""


class Series(Shape):
    """One metric over the chosen axis, by step."""

    key: str
    x: list[float]
    y: list[float]


class MetricsShape(Shape):
    """The curves of a job."""

    object: Literal["metrics"] = "metrics"
    job_id: str
    x: Axis
    series: list[Series]


def series_of(points: Iterable[MetricPoint], x: Axis) -> list[Series]:
    """The points as one series for every metric, by name."""
    by_key: dict[str, list[MetricPoint]] = {}
    for point in points:
        by_key.setdefault(point.key, []).append(point)
    return [
        Series(key=key, x=[getattr(p, x) for p in found], y=[p.value for p in found])
        for key, found in sorted(by_key.items())
    ]


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
