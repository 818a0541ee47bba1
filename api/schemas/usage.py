"""Usage and quotas as clients see them."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from api.schemas.shared import At, Shape


class UsageRow(Shape):
    """What was used by one group in one interval. Fields that are not grouped by are null."""

    from_: date | None = Field(
        alias="from", serialization_alias="from", description="The first day of the interval, UTC."
    )
    base_model: str | None
    team: str | None = Field(description="The label `team` of jobs; empty for those without.")
    kind: str | None = Field(description="training, generation or scoring. The set is open.")
    gpu_seconds: float
    reward_queries: int
    evaluation_queries: int
    cost: str = Field(description="By the present price of a GPU-second.")


class UsageShape(Shape):
    """Usage of a project by group and interval, earliest first."""

    object: Literal["usage"] = "usage"
    from_: date = Field(alias="from", serialization_alias="from")
    to: date = Field(description="The last day, included.")
    interval: Literal["day", "month"] | None
    group_by: list[Literal["base_model", "team", "kind"]]
    currency: str
    data: list[UsageRow]
    total: UsageRow


class QuotaShape(Shape):
    """One quota of the project."""

    name: str = Field(
        description="running_jobs, queued_jobs, gpu_seconds_a_month, storage_bytes, generations_a_month, "
        "templates or template_versions. The set is open."
    )
    limit: int | None = Field(description="None: not limited.")
    used: float
    left: float | None
    resets_at: At | None = Field(description="When `used` begins at 0 again; None: it frees up.")
    when_used_up: Literal["queued_jobs_wait", "refused"]


class QuotasShape(Shape):
    """What the project may use, and what it uses now."""

    object: Literal["quotas"] = "quotas"
    data: list[QuotaShape]
