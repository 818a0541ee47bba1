"""The tables that the service keeps for itself, typed: answers to repeated requests, and its workers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base, Json

_NOW = text("clock_timestamp()")


class IdempotencyKey(Base):
    """The answer that a repeated request gets again."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status_code: Mapped[int]
    headers: Mapped[Json]
    # json, not jsonb: a replayed body keeps the order of its fields.
    body: Mapped[Json] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW, index=True)


class Worker(Base):
    """A worker process, alive while `last_seen_at` is fresh; `last_bell_at` is its last doorbell, `canary_at`
    when one was last sent to it alone."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(server_default=text("'training'"))
    """What it works at: training, scoring or generation."""
    hardware: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_seen_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_bell_at: Mapped[datetime | None]
    canary_at: Mapped[datetime | None]
