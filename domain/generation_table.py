"""The table of generations, typed: videos made on demand. `domain.tables` has those of jobs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base, Json

_NOW = text("clock_timestamp()")
_ZERO = text("0")


class GenerationStatus(StrEnum):
    """Where a generation stands. The last three are terminal, which a trigger keeps."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset(
    {GenerationStatus.SUCCEEDED, GenerationStatus.FAILED, GenerationStatus.CANCELLED}
)
_STATUSES = ", ".join(f"'{status}'" for status in GenerationStatus)


class Generation(Base):
    """Videos of one prompt. `attempt` is the fencing token, `lease_until` set while one holds it."""

    __tablename__ = "generations"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint("(lease_until IS NULL) = (owner IS NULL)", name="lease_has_owner"),
        Index("ix_generations_page", "project_id", text("created_at DESC"), text("id DESC")),
        Index("ix_generations_turns", "project_id", "started_at"),
        Index(
            "ix_generations_adapter",
            "adapter_id",
            text("created_at DESC"),
            text("id DESC"),
            postgresql_where=text("adapter_id IS NOT NULL"),
        ),
        Index("ix_generations_queue", "created_at", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_generations_leases",
            "lease_until",
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
        Index(
            "ix_generations_kept",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND files_removed_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    created_by_member_id: Mapped[UUID | None]
    trace_id: Mapped[str]
    adapter_id: Mapped[UUID | None]
    """The adapter that was meant when it was asked for; an alias may point elsewhere by now."""
    base_model: Mapped[str]
    spec: Mapped[Json]
    """The resolved `vader_core.generating.GenerationSpec`; its `adapter` is as it was asked for."""
    inputs: Mapped[list[Json]]
    """What the generator needs: of each file its path there, and its key, sha256 and size_bytes."""
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default=_ZERO)
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    hinted_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    """When a generator was last told to look."""
    result: Mapped[Json | None]
    """The generator's `GenerationResult`; its files' paths are below the attempt's prefix."""
    size_bytes: Mapped[int] = mapped_column(server_default=_ZERO)
    """Of all files together."""
    gpu_seconds: Mapped[float] = mapped_column(server_default=_ZERO)
    """For how long attempts held a device; not of attempts whose worker was lost."""
    error: Mapped[Json | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    """When the current attempt began."""
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """When its project deleted it; the row stays."""
    files_removed_at: Mapped[datetime | None]
    """When its files were removed from the object store."""
