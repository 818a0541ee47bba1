"""Every table but the scorings', typed. The migrations build them; a test holds both together.

Times are the database's clock. Ids are UUIDv7 made by `domain.ids`. `status` is written by
`domain.jobs` alone, and a trigger keeps a terminal status for ever.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from domain.job_status import Status

Json = dict[str, Any]
_NOW = text("clock_timestamp()")
_ZERO = text("0")
_STATUSES = ", ".join(f"'{status}'" for status in Status)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {
        UUID: Uuid(),
        str: Text(),
        datetime: DateTime(timezone=True),
        bytes: LargeBinary(),
        int: BigInteger(),
        Json: JSONB(),
        list[Json]: JSONB(),
        list[str]: ARRAY(Text()),
    }


class Project(Base):
    """A team. Everything but the catalogue belongs to one."""

    __tablename__ = "projects"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class ApiKey(Base):
    """A key of one project. The secret itself is not stored."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    lookup_id: Mapped[str] = mapped_column(unique=True)
    """The 8 characters by which the row is found."""
    secret_hash: Mapped[bytes]
    """HMAC-SHA256 of the secret under the pepper."""
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class PromptSet(Base):
    """One immutable version of a named list of prompts."""

    __tablename__ = "prompt_sets"
    __table_args__ = (UniqueConstraint("project_id", "name", "version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    version: Mapped[int]
    items: Mapped[list[Json]]
    sha256: Mapped[str]
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Upload(Base):
    """An image or a video that a team brought. The same bytes are stored once a project."""

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("project_id", "sha256"),
        Index("ix_uploads_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    name: Mapped[str]
    content_type: Mapped[str]
    key: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Job(Base):
    """One alignment run. `attempt` is the fencing token, `lease_until` set while an attempt holds it."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint("(lease_until IS NULL) = (owner IS NULL)", name="lease_has_owner"),
        Index("ix_jobs_page", "project_id", text("created_at DESC"), text("id DESC")),
        Index(
            "ix_jobs_queue",
            "priority",
            "queued_at",
            postgresql_where=text("status = 'queued'"),
        ),
        Index(
            "ix_jobs_leases",
            "lease_until",
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
        Index("ix_jobs_labels", "labels", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    name: Mapped[str]
    labels: Mapped[Json]
    priority: Mapped[int]
    """0 high, 1 normal, 2 low."""
    base_model: Mapped[str]
    method: Mapped[str]
    rewards: Mapped[list[str]]
    asked_spec: Mapped[Json]
    """As the client sent it."""
    spec: Mapped[Json]
    """With every default filled in."""
    budget: Mapped[Json]
    """The budget of `spec`, so that lists need not load the prompts."""
    spec_hash: Mapped[str]
    trace_id: Mapped[str]

    status: Mapped[str]
    phase: Mapped[str]
    stop_reason: Mapped[str | None]
    error: Mapped[Json | None]
    cancel_requested_at: Mapped[datetime | None]
    keep_adapter: Mapped[bool] = mapped_column(server_default=text("true"))

    attempt: Mapped[int] = mapped_column(server_default=_ZERO)
    preemptions: Mapped[int] = mapped_column(server_default=_ZERO)
    """Attempts that ended by a drain and are not charged."""
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    hinted_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    """When a worker was last told to look."""

    step: Mapped[int] = mapped_column(server_default=_ZERO)
    steps_total: Mapped[int]
    reward_queries: Mapped[int] = mapped_column(server_default=_ZERO)
    evaluation_queries: Mapped[int] = mapped_column(server_default=_ZERO)
    gpu_seconds: Mapped[float] = mapped_column(server_default=_ZERO)
    wall_clock_s: Mapped[float] = mapped_column(server_default=_ZERO)
    """Of the attempts that ended; the current one is added when it ends."""
    warned_ceilings: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    latest_metrics: Mapped[Json | None]
    evaluation: Mapped[Json | None]
    """The newest evaluation line."""
    sheet: Mapped[Json | None]
    """The contact sheet: key, sha256 and size_bytes."""
    adapter_id: Mapped[UUID | None]

    last_seq: Mapped[int] = mapped_column(server_default=_ZERO)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    queued_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    queue_expires_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]


class Attempt(Base):
    """One try of one worker at a job."""

    __tablename__ = "attempts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    hardware: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_heartbeat_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    """succeeded, failed, cancelled, lost or released."""
    error: Mapped[Json | None]
    resumed_from_step: Mapped[int | None]
    last_step: Mapped[int] = mapped_column(server_default=_ZERO)
    """The highest step of which this attempt told."""
    trainer_started_at: Mapped[datetime | None]
    """By the worker's clock, as all times in the trainer's lines."""
    environment: Mapped[Json | None]
    """The trainer's device, precision and versions."""
    log: Mapped[Json | None]
    """The trainer's log: key, sha256 and size_bytes."""


class Event(Base):
    """One numbered line of a job's history; `seq` counts from 1 without gaps."""

    __tablename__ = "events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    type: Mapped[str]
    level: Mapped[str]
    message: Mapped[str]
    data: Mapped[Json]
    attempt: Mapped[int]
    step: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=_NOW)


class MetricPoint(Base):
    """One number at one step, with the other axes it can be drawn over."""

    __tablename__ = "metric_points"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]
    attempt: Mapped[int]
    reward_queries: Mapped[int]
    gpu_seconds: Mapped[float]
    wall_s: Mapped[float]
    at: Mapped[datetime]


class Sample(Base):
    """A kept video of a held-out prompt and seed; base and adapter share `pair`."""

    __tablename__ = "samples"
    __table_args__ = (UniqueConstraint("job_id", "step", "pair", "role"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    step: Mapped[int]
    role: Mapped[str]
    pair: Mapped[str]
    prompt_id: Mapped[str]
    prompt: Mapped[str]
    seed: Mapped[int]
    score: Mapped[float]
    key: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Checkpoint(Base):
    """A stored checkpoint folder. `expired_at` says that its files were given up for newer ones."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "step"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    step: Mapped[int]
    prefix: Mapped[str]
    """Object key of the folder, without a slash at its end."""
    files: Mapped[list[Json]]
    """path (below the prefix), size_bytes and sha256 of each."""
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expired_at: Mapped[datetime | None]


class Evaluation(Base):
    """Scores of the held-out pairs at one step; `data` is the trainer's whole line."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("job_id", "kind", "step"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    kind: Mapped[str]
    step: Mapped[int]
    heldout_reward: Mapped[float]
    verdict: Mapped[str | None]
    data: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Adapter(Base):
    """The LoRA weights that a job yielded."""

    __tablename__ = "adapters"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), index=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), unique=True)
    attempt: Mapped[int]
    step: Mapped[int]
    prefix: Mapped[str]
    files: Mapped[list[Json]]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


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
    """A worker process, alive while `last_seen_at` is fresh; `last_bell_at` is its last doorbell."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    hardware: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_seen_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_bell_at: Mapped[datetime | None]
