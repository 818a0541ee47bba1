"""What a dry run says: the resolved spec, what it will take, what is left of the quota, and warnings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from api.schemas.shared import At, Shape
from vader_core.spec import JobSpec

Basis = Annotated[
    Literal["measured", "analytic", "unknown"],
    Field(
        description="`measured`: from like jobs of the past; `analytic`: computed; `unknown`: the values are null."
    ),
]


WouldStart = Literal[
    "now",
    "when_a_worker_is_free",
    "project_concurrency",
    "quota",
    "not_accepted",
    "not_known",
]


class QuantilesShape(Shape):
    """The median and the 90th percentile."""

    basis: Basis
    p50: float | None
    p90: float | None


class CostShape(Shape):
    """As `QuantilesShape`, in money: decimal strings."""

    basis: Basis
    p50: str | None
    p90: str | None
    currency: str


class FirstCeilingShape(Shape):
    """The ceiling that ends the job, by its name in the budget, in the median and in a slow tenth of cases."""

    basis: Basis
    p50: str | None
    p90: str | None


class QueriesShape(Shape):
    """Reward queries of all steps, and of all evaluations."""

    basis: Basis
    train: int
    evaluation: int


class MemoryBreakdown(Shape):
    """GiB by what they are. The text encoder leaves before training begins, so the parts do not add up."""

    base: float
    text_encoder: float
    activations: float
    adapter_and_optimizer: float
    rewards: float


class MemoryShape(Shape):
    """GiB on one GPU. `at_least` is what the job cannot do without, whatever `peak` is worth."""

    basis: Basis
    peak: float | None
    at_least: float | None
    breakdown: MemoryBreakdown | None
    detail: str = Field(description="What the figures are for.")


class HardwareShape(Shape):
    """A kind of machine that trains now. None with less memory than `vram_gib.at_least` takes the job, and none
    with less than `vram_gib.peak` while one with more is there."""

    class_: Annotated[str, Field(alias="class", serialization_alias="class")]
    memory_gib: float | None = Field(description="Of one GPU; null where there is none.")
    workers: int
    fits: bool | None = Field(description="null: not known.")
    selected: bool = Field(
        description="Whether it is expected to run the job: the kind with the least memory that fits, or the "
        "only one that would take it. A larger one may take it first; where memory is not known and kinds "
        "differ, none is selected."
    )
    needs: str | None = Field(description="What it lacks where the job does not fit.")


class StorageShape(Shape):
    """GiB of adapter, checkpoints and samples."""

    basis: Basis
    total: float | None


class EstimateShape(Shape):
    """What the job will take if no ceiling of time and no early stop ends it before.

    `basis` is that of the times. `steps` and `reward_queries` are counted from the spec.
    """

    basis: Basis
    similar_runs: int
    steps: int
    reward_queries: QueriesShape
    gpu_seconds: QuantilesShape
    wall_clock_s: QuantilesShape
    queue_wait_s: QuantilesShape
    vram_gib: MemoryShape
    hardware: list[HardwareShape]
    storage_gib: StorageShape
    cost: CostShape
    first_ceiling: FirstCeilingShape


class QuotaShape(Shape):
    """What the project may still use; null where nothing is limited."""

    gpu_seconds_left_this_month: float | None
    resets_at: At | None
    running_jobs: int
    max_running_jobs: int | None
    queued_jobs: int
    max_queued_jobs: int | None
    storage_gib_left: float | None
    would_start: WouldStart = Field(
        description="What keeps it waiting, if anything. `not_accepted`: the project's queue is full."
    )


class WarningShape(Shape):
    """Something that does not forbid the job. `pointer` leads into the resolved spec."""

    pointer: str
    code: str = Field(description="Stable. The set is open.")
    detail: str


class DryRun(Shape):
    """What the very same request would make. Give `spec_hash` back as `expect.spec_hash` to bind the job
    to it."""

    object: Literal["dry_run"] = "dry_run"
    valid: Literal[True] = True
    spec_hash: str
    resolved_spec: JobSpec
    template: str | None = Field(description="The template version that it is made from.")
    estimate: EstimateShape
    quota: QuotaShape
    warnings: list[WarningShape]
