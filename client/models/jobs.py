"""Jobs and their parts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from client.models.shared import Answer, CreatedBy, Tagged

Status = Literal[
    "validating",
    "queued",
    "starting",
    "running",
    "pausing",
    "paused",
    "finalizing",
    "cancelling",
    "succeeded",
    "failed",
    "cancelled",
]
Verdict = Literal["improved", "no_clear_difference", "worse"]


class Attempt(Answer):
    """One try of one worker at a job."""

    number: int
    hardware: str | None = None
    started_at: datetime | None = None
    last_heartbeat_at: datetime | None = None


class Progress(Answer):
    """How far training is. `fraction` is between 0 and 1; `seconds_per_step` is None before any step."""

    fraction: float = 0.0
    step: int = 0
    steps_total: int | None = None
    seconds_per_step: float | None = None
    eta_at: datetime | None = None


class Ceiling(Answer):
    """One ceiling of a budget and how much of it is used; `limit` None means that there is none."""

    limit: int | float | None = None
    used: int | float = 0
    fraction: float | None = None


class CostCeiling(Answer):
    """As `Ceiling`, in money: decimal strings."""

    limit: str | None = None
    used: str = "0"
    currency: str = ""
    fraction: float | None = None


class Budget(Answer):
    """The ceilings of a job as they are now, and what ends it first at the present pace."""

    steps: Ceiling = Ceiling()
    reward_queries: Ceiling = Ceiling()
    gpu_seconds: Ceiling = Ceiling()
    wall_clock_s: Ceiling = Ceiling()
    cost: CostCeiling = CostCeiling()
    evaluation_queries: int = 0
    deadline_at: datetime | None = None
    max_queue_s: float | None = None
    next_ceiling: str | None = None
    on_exhausted: str = "finish"


class Guard(Answer):
    """A measure that must not fall too far below the base model's; `ok` says whether it held.

    By the rule `ratio` it is compared as a ratio, by the rule `drop` in deviations of the base's videos.
    """

    reward: str
    rule: str = "ratio"
    ratio_to_base: float | None = None
    min_ratio_to_base: float | None = None
    base_deviation: float | None = None
    drop: float | None = None
    max_drop: float | None = None
    base: float | None = None
    adapter: float | None = None
    ok: bool


class PairsNeeded(Answer):
    """How many held-out prompts and pairs would give the interval `half_width`; None where unknown."""

    wanted: str = ""
    half_width: float | None = None
    prompts: int | None = None
    pairs: int | None = None
    unknown_because: str | None = None


class Evaluation(Answer):
    """Held-out scores of base and adapter; `delta` is their mean paired difference.

    With `kind` "base" no adapter was evaluated yet: both scores are the base model's. The best one is
    that of the periodic evaluations, and only jobs tell it.
    """

    kind: str = ""
    baseline_heldout_reward: float | None = None
    heldout_reward: float | None = None
    best_heldout_reward: float | None = None
    best_step: int | None = None
    delta: float | None = None
    delta_ci95: tuple[float, float] | None = None
    verdict: Verdict | None = None
    adapter_step: int | None = None
    pairs_needed: PairsNeeded | None = None
    guards: list[Guard] = []


class AdapterLink(Answer):
    """The adapter that a job yielded."""

    id: str


class Sheet(Answer):
    """The job's contact sheet, a PNG; `url` needs the API key and leads on to a link."""

    size_bytes: int
    sha256: str
    url: str


class JobError(Answer):
    """Why a job failed and what would help."""

    code: str
    message: str = ""
    hint: str | None = None
    fault: str | None = None
    retryable: bool = False


class QueuePlace(Answer):
    """Where a waiting job stands (1 is next), and what it waits for."""

    position: int | None = None
    reason: str | None = None
    eta_at: datetime | None = None
    expires_at: datetime | None = None


class CancelledJob(Answer):
    """A job of a batch, as it stands now."""

    id: str
    status: Status


class BatchCancelled(Answer):
    """The jobs that were asked to end."""

    count: int
    jobs: list[CancelledJob]


class JobTransitions(Answer):
    """The states of a job: where each may lead, and what may be asked of a job in it."""

    transitions: dict[str, list[str]]
    terminal: list[str]
    actions: dict[str, list[str]]


class Pause(Answer):
    """Why a job is paused, and when it is ended unless somebody resumes it."""

    reason: str
    requested_at: datetime | None = None
    paused_at: datetime | None = None
    expires_at: datetime | None = None


class BestCheckpoint(Answer):
    """The checkpoint with the best held-out reward, else the last one."""

    id: str
    step: int


class StartsFrom(Answer):
    """Where training started instead of the base model."""

    kind: str
    id: str
    state: str
    step: int
    job_id: str


class Job(Tagged):
    """One alignment job. Lists leave out its specs."""

    id: str
    name: str = ""
    project_id: str = ""
    base_model: str = ""
    method: str = ""
    rewards: list[str] = []
    priority: str = "normal"
    status: Status
    phase: str | None = None
    status_reason: str | None = None
    terminal: bool
    allowed_actions: list[str] = []
    stop_reason: str | None = None
    pause: Pause | None = None
    attempt: Attempt | None = None
    code_version: str | None = None
    queue: QueuePlace | None = None
    progress: Progress | None = None
    budget: Budget = Budget()
    evaluation: Evaluation | None = None
    best_checkpoint: BestCheckpoint | None = None
    adapter: AdapterLink | None = None
    sheet: Sheet | None = None
    error: JobError | None = None
    latest_metrics: dict[str, JsonValue] | None = None
    spec: dict[str, JsonValue] = {}
    resolved_spec: dict[str, JsonValue] = {}
    spec_hash: str = ""
    template: str | None = None
    parent_job_id: str | None = None
    parent_kind: str | None = None
    starts_from: StartsFrom | None = None
    labels: dict[str, str] = {}
    created_by: CreatedBy | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deleted_at: datetime | None = None
    version: int | None = None
    poll_after_s: float | None = None
    links: dict[str, str] = {}
