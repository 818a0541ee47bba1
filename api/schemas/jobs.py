"""The job as clients see it (one shape for list, detail, create and cancel) and its parts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from api.schemas.shared import At, Page, Shape
from domain.job_status import Status
from vader_core.lines import GuardResult, PairsNeeded, StopReason, Verdict


class CurrentAttempt(Shape):
    """The latest try of a worker at the job."""

    number: int
    started_at: At
    hardware: str
    last_heartbeat_at: At


class Queue(Shape):
    """Where a queued job stands; position 1 is next."""

    position: int
    expires_at: At | None


class Progress(Shape):
    """`fraction` is step / steps_total. `eta_at` extrapolates the pace; a ceiling of time may end it."""

    fraction: float
    step: int
    steps_total: int
    eta_at: At | None
    seconds_per_step: float | None


class Spending(Shape):
    """What is used of one ceiling; `limit` and `fraction` are null where there is none."""

    limit: int | float | None
    used: int | float
    fraction: float | None


class CostSpending(Shape):
    """As `Spending`, in money: decimal strings."""

    limit: str | None
    used: str
    currency: str
    fraction: float | None


class BudgetShape(Shape):
    """What the job may use and has used. Evaluation queries have no ceiling and are counted apart."""

    steps: Spending
    reward_queries: Spending
    evaluation_queries: int
    gpu_seconds: Spending
    wall_clock_s: Spending
    cost: CostSpending
    deadline_at: At | None
    max_queue_s: float | None
    next_ceiling: str | None = Field(description="What ends the job first, at the present pace.")
    on_exhausted: str


class EvaluationSummary(Shape):
    """The latest comparison of adapter and base on the held-out prompts.

    `adapter_step` is the step whose adapter was evaluated, where an early stop went back to one.
    """

    kind: Literal["base", "periodic", "final"]
    step: int
    adapter_step: int | None
    baseline_heldout_reward: float
    heldout_reward: float
    delta: float | None
    delta_ci95: tuple[float, float] | None
    verdict: Verdict | None
    pairs_needed: PairsNeeded | None
    guards: list[GuardResult]


class AdapterLink(Shape):
    """The adapter that the job yielded."""

    id: str
    url: str
    files_url: str


class SheetLink(Shape):
    """The contact sheet: a PNG with base row over adapter row. `url` needs the API key and redirects."""

    size_bytes: int
    sha256: str
    url: str


class JobError(Shape):
    """Why the job failed, whose `fault` it is, and whether a new job could do better."""

    code: str
    fault: Literal["user", "platform"]
    retryable: bool
    message: str
    hint: str
    step: int | None
    attempt: int | None
    last_checkpoint: str | None


class CreatedBy(Shape):
    """The API key that made the job."""

    type: Literal["api_key"] = "api_key"
    id: str
    name: str


class JobLinks(Shape):
    """Paths of what belongs to the job."""

    self: str
    events: str
    metrics: str
    samples: str
    checkpoints: str
    evaluation: str
    attempts: str
    cancel: str


class JobSummary(Shape):
    """A job without its specs, as lists show it."""

    id: str
    object: Literal["job"] = "job"
    name: str
    project_id: str
    base_model: str
    method: str
    rewards: list[str]
    priority: Literal["low", "normal", "high"]
    status: Status
    phase: str = Field(description="The finer step. The set is open.")
    terminal: bool = Field(description="True: nothing about the job will change any more.")
    allowed_actions: list[str]
    stop_reason: StopReason | Literal["error"] | None
    attempt: CurrentAttempt | None
    queue: Queue | None
    progress: Progress
    budget: BudgetShape
    latest_metrics: dict[str, JsonValue] | None
    evaluation: EvaluationSummary | None
    adapter: AdapterLink | None
    sheet: SheetLink | None
    error: JobError | None
    spec_hash: str
    labels: dict[str, str]
    created_by: CreatedBy | None
    trace_id: str
    created_at: At
    queued_at: At
    started_at: At | None
    finished_at: At | None
    updated_at: At
    version: int = Field(description="Grows with every change; the ETag is made of it.")
    poll_after_s: int | None = Field(description="When to ask again; null once terminal.")
    links: JobLinks


class JobShape(JobSummary):
    """A job. Its specs are shown as they were stored, even where today's `JobSpec` has moved on."""

    spec: dict[str, JsonValue] = Field(description="A `JobSpec` as the client sent it.")
    resolved_spec: dict[str, JsonValue] = Field(description="With every default filled in.")


class JobPage(Page[JobSummary]):
    """Jobs, newest first."""


class CancelRequest(Shape):
    """`keep_adapter` true still stores the adapter of the newest step."""

    keep_adapter: bool = True
