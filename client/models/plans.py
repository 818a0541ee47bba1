"""What a dry run says of a job that does not exist yet."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, JsonValue

from client.models.shared import Answer


class Range(Answer):
    """What half of the runs stay below, and nine of ten; None where the `basis` is unknown."""

    basis: str = ""
    p50: float | None = None
    p90: float | None = None


class CostRange(Answer):
    """As `Range`, in money: decimal strings."""

    basis: str = ""
    p50: str | None = None
    p90: str | None = None
    currency: str = ""


class FirstCeiling(Answer):
    """What would end the job, in the usual and in the slow case."""

    basis: str = ""
    p50: str | None = None
    p90: str | None = None


class Queries(Answer):
    """Reward queries of all steps, and of all evaluations."""

    train: int
    evaluation: int


class Memory(Answer):
    """GPU memory in GiB: the peak, what the job cannot do without, and what the peak is made of."""

    basis: str = ""
    peak: float | None = None
    at_least: float | None = None
    breakdown: dict[str, float] | None = None
    detail: str = ""


class WorkerClass(Answer):
    """A kind of machine that trains now, whether the job fits, and whether it is expected to run there;
    `needs` says what it lacks."""

    name: str = Field(alias="class")
    memory_gib: float | None = None
    workers: int = 0
    fits: bool | None = None
    selected: bool = False
    needs: str | None = None


class Storage(Answer):
    """GiB of adapter, checkpoints and samples."""

    basis: str = ""
    total: float | None = None


class Estimate(Answer):
    """What the job would take. `basis`: measured (in similar runs), analytic or unknown."""

    basis: str
    similar_runs: int
    steps: int
    reward_queries: Queries
    gpu_seconds: Range
    wall_clock_s: Range
    queue_wait_s: Range
    vram_gib: Memory
    hardware: list[WorkerClass]
    storage_gib: Storage
    cost: CostRange
    first_ceiling: FirstCeiling


class QuotaLeft(Answer):
    """What the project may still use; None where nothing is limited."""

    gpu_seconds_left_this_month: float | None = None
    resets_at: datetime | None = None
    running_jobs: int = 0
    max_running_jobs: int | None = None
    queued_jobs: int = 0
    max_queued_jobs: int | None = None
    storage_gib_left: float | None = None
    would_start: str = ""


class Warned(Answer):
    """Something that is legal and perhaps not what is wanted. `pointer` leads into the resolved spec."""

    pointer: str
    code: str
    detail: str


class DryRun(Answer):
    """The job as it would be made: what `create_job(expect=...)` can be bound to."""

    spec_hash: str
    resolved_spec: dict[str, JsonValue]
    template: str | None = None
    estimate: Estimate
    quota: QuotaLeft
    warnings: list[Warned]
