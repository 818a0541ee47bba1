"""The job as clients see it (one shape for list, detail, create and cancel) and its parts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from api.schemas.shared import At, Page, Shape
from domain.job_status import Status
from vader_core.lines import GuardResult, PairsNeeded, StopReason, Verdict
from vader_core.method_spec import MethodName
from vader_core.moment import Moment


class CurrentAttempt(Shape):
    """The latest try of a worker at the job."""

    number: int
    started_at: At
    hardware: str
    last_heartbeat_at: At


class Queue(Shape):
    """Where a queued job stands. Position 1 is next by priority and age; fair shares between projects and
    quotas may let others go first. `eta_at` is null where nothing is known to estimate it from."""

    position: int
    reason: Literal["no_free_gpu", "no_fitting_gpu", "project_concurrency", "quota", "backoff"] = (
        Field(
            description="Why it waits: for a worker, for one with a larger GPU than any that is there, for "
            "another job of the project to end, for the month's GPU-seconds, or because its last attempt failed "
            "a moment ago."
        )
    )
    eta_at: At | None
    expires_at: At | None = Field(description="When `max_queue_s` ends it unless it has begun.")


class Pause(Shape):
    """Why a job is paused or pausing, and when it is ended unless somebody resumes it."""

    reason: Literal[
        "requested",
        "reward_queries",
        "gpu_seconds",
        "wall_clock",
        "deadline",
        "cost",
        "budget_raised",
    ] = Field(
        description="`requested`, the ceiling that was reached, or `budget_raised` once that was raised."
    )
    requested_at: At | None
    expires_at: At | None


class BestCheckpoint(Shape):
    """The checkpoint with the best held-out reward of a periodic evaluation, else the last one."""

    id: str
    step: int


class StartsFrom(Shape):
    """Where training started instead of the base model. `state` full: it went on as if it had not ended."""

    kind: Literal["checkpoint", "adapter"]
    id: str
    state: Literal["weights", "full"]
    step: int
    job_id: str


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
    """What the job may use and has used, over all of its attempts. Evaluation queries have no ceiling.

    `deadline_s` are the seconds from creation to `deadline_at`, `queue_s` those of waiting to begin.
    """

    steps: Spending
    reward_queries: Spending
    evaluation_queries: int
    gpu_seconds: Spending
    wall_clock_s: Spending
    cost: CostSpending
    deadline_s: Spending
    queue_s: Spending
    deadline_at: At | None
    next_ceiling: str | None = Field(description="What ends the job first, at the present pace.")
    on_exhausted: Literal["finish", "pause"]


class EvaluationSummary(Shape):
    """The latest comparison of adapter and base on the held-out prompts, and the best one during training.

    `adapter_step` is the step whose adapter was evaluated, where an early stop went back to one.
    """

    kind: Literal["base", "periodic", "final"]
    step: int
    adapter_step: int | None
    baseline_heldout_reward: float
    heldout_reward: float
    best_heldout_reward: float | None = Field(
        description="Of the periodic evaluations so far; null before the first."
    )
    best_step: int | None = Field(description="Where that was; of equal ones the latest.")
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
    """The API key or the member that made it."""

    type: Literal["api_key", "member"]
    id: str
    name: str


class JobLinks(Shape):
    """Paths of what belongs to the job."""

    self: str
    events: str
    logs: str
    metrics: str
    samples: str
    checkpoints: str
    evaluation: str
    attempts: str
    cancel: str
    pause: str
    resume: str
    retry: str
    extend: str


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
    status_reason: str | None = Field(description="Why it stands as it does, for people.")
    terminal: bool = Field(
        description="True: nothing will change any more, but that it is deleted."
    )
    allowed_actions: list[str] = Field(description="What may be asked of it now. The set is open.")
    stop_reason: StopReason | Literal["paused_expired", "error"] | None
    attempt: CurrentAttempt | None
    code_version: str | None = Field(
        description="The version of the service that runs the latest attempt, or ran it: of its package, and "
        "the commit where the build named it. Null before the first attempt."
    )
    queue: Queue | None
    pause: Pause | None
    progress: Progress
    budget: BudgetShape
    latest_metrics: dict[str, JsonValue] | None
    evaluation: EvaluationSummary | None
    best_checkpoint: BestCheckpoint | None
    adapter: AdapterLink | None
    sheet: SheetLink | None
    error: JobError | None
    spec_hash: str = Field(description="Of the resolved spec as the job was made.")
    template: str | None
    parent_job_id: str | None
    parent_kind: Literal["retry", "extend"] | None
    starts_from: StartsFrom | None
    notify: dict[str, JsonValue] | None
    labels: dict[str, str]
    created_by: CreatedBy | None
    trace_id: str
    created_at: At
    queued_at: At
    started_at: At | None
    finished_at: At | None
    updated_at: At
    deleted_at: At | None = Field(description="Since when its files are gone.")
    version: int = Field(description="Grows with every change.")
    poll_after_s: int | None = Field(description="When to ask again; null once terminal.")
    links: JobLinks


class JobShape(JobSummary):
    """A job. Its specs are shown as they were stored, even where today's `JobSpec` has moved on."""

    spec: dict[str, JsonValue] = Field(description="A `JobSpec` as the client sent it.")
    resolved_spec: dict[str, JsonValue] = Field(description="With every default filled in.")


class JobPage(Page[JobSummary]):
    """Jobs, by age."""


class CancelRequest(Shape):
    """`keep_adapter` true still stores the adapter of the newest step."""

    keep_adapter: bool = True


class NoSettings(Shape):
    """An action without settings: an empty object, or no body at all."""


class BatchFilter(Shape):
    """As the filters of the list of jobs; all that are given must hold."""

    status: list[Status] = Field(default=[], description="Any of these.")
    base_model: str | None = Field(default=None, min_length=1, description="`id` or `id@version`.")
    method: MethodName | None = None
    reward: str | None = Field(default=None, min_length=1, description="`id` or `id@version`.")
    template: str | None = Field(
        default=None, min_length=1, description="`tpl_...` or `tpl_...@2`."
    )
    parent: str | None = Field(default=None, description="The id of the job they were made from.")
    created_by: str | None = Field(default=None, description="The id of an API key or a member.")
    labels: dict[str, str] = {}
    created_after: Moment | None = None
    created_before: Moment | None = None
    q: str | None = Field(
        default=None, min_length=1, max_length=200, description="A part of the name."
    )


class BatchCancelRequest(Shape):
    """Which jobs to cancel: `ids` or `filter`, and how many that must be.

    Counted are those that are neither over nor being cancelled already.
    """

    ids: list[str] | None = Field(default=None, min_length=1, max_length=1000)
    filter: BatchFilter | None = None
    expected_count: int = Field(ge=0, le=1000)
    keep_adapter: bool = True

    @model_validator(mode="after")
    def _one_way(self) -> BatchCancelRequest:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("give exactly one of `ids` and `filter`")
        return self


class CancelledJob(Shape):
    """A job that was asked to cancel, as it stands now."""

    id: str
    status: Status


class BatchCancelled(Shape):
    """The jobs that were asked to cancel; those that were held by a worker end within seconds."""

    count: int
    jobs: list[CancelledJob]


class JobTransitions(Shape):
    """The states of a job: where each may lead, and what may be asked of a job in it."""

    transitions: dict[Status, list[Status]]
    terminal: list[Status]
    actions: dict[Status, list[str]]
