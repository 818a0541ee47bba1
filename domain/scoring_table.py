"""The table of scorings, typed: rewards that are tried on a few videos. `domain.tables` has those of jobs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base, Json

_NOW = text("clock_timestamp()")


class ScoringStatus(StrEnum):
    """Where a scoring stands. The last two are terminal, which a trigger keeps."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


TERMINAL = frozenset({ScoringStatus.SUCCEEDED, ScoringStatus.FAILED})
_STATUSES = ", ".join(f"'{status}'" for status in ScoringStatus)


class Scoring(Base):
    """A reward tried on videos. `attempt` is the fencing token, `lease_until` set while one holds it."""

    __tablename__ = "scorings"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint("(lease_until IS NULL) = (owner IS NULL)", name="lease_has_owner"),
        Index("ix_scorings_turns", "project_id", "started_at"),
        Index("ix_scorings_queue", "created_at", postgresql_where=text("status = 'queued'")),
        Index(
            "ix_scorings_leases",
            "lease_until",
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    trace_id: Mapped[str]
    reward: Mapped[Json]
    """name (id@version), title, per and range, as they were when it was asked for."""
    params: Mapped[Json]
    videos: Mapped[list[Json]]
    """Of each: upload or sample (its id), prompt, target; key, sha256 and size_bytes of its file."""
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    hinted_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    """When a scorer was last told to look."""
    result: Mapped[Json | None]
    """The scorer's `ScoreResult` (`vader_core.scoring`)."""
    error: Mapped[Json | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    """When the current attempt began."""
    finished_at: Mapped[datetime | None]
