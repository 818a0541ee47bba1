"""The tables of projects and jobs, typed. The migrations build them; a test holds both together.

Times are the database's clock. Ids are UUIDv7 made by `domain.ids`. `status` is written by
`domain.jobs` alone, and a trigger keeps a terminal status for ever.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
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

from domain.job_indexes import job_indexes
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
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"), index=True)
    created_by_member_id: Mapped[UUID | None] = mapped_column(index=True)
    """Who made it; neither: an operator."""


class PromptSet(Base):
    """One immutable version of a named list of prompts."""

    __tablename__ = "prompt_sets"
    __table_args__ = (
        UniqueConstraint("project_id", "name", "version"),
        Index("ix_prompt_sets_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    version: Mapped[int]
    items: Mapped[list[Json]] = mapped_column(deferred=True)
    size: Mapped[int]
    """How many prompts there are."""
    size_bytes: Mapped[int]
    """What counts as stored: the prompts as JSON; 0 once it was deleted."""
    report: Mapped[Json]
    """What was found when it was made: `domain.prompt_report.PromptReport` as JSON."""
    sha256: Mapped[str]
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    created_by_member_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    deleted_at: Mapped[datetime | None]
    """Its prompts are gone then. The row stays: no later version takes its number."""


class Job(Base):
    """One alignment run. `attempt` is the fencing token, `lease_until` set while an attempt holds it."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status IN ({_STATUSES})", name="status"),
        CheckConstraint("(lease_until IS NULL) = (owner IS NULL)", name="lease_has_owner"),
        *job_indexes(),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    created_by_member_id: Mapped[UUID | None]
    name: Mapped[str]
    labels: Mapped[Json]
    priority: Mapped[int]
    """0 high, 1 normal, 2 low."""
    base_model: Mapped[str]
    base_model_id: Mapped[str] = mapped_column(Computed("split_part(base_model, '@', 1)"))
    method: Mapped[str]
    rewards: Mapped[list[str]]
    reward_ids: Mapped[list[str] | None] = mapped_column(Computed("reward_names(rewards)"))
    asked_spec: Mapped[Json]
    """As the client sent it."""
    spec: Mapped[Json]
    """With every default filled in."""
    budget: Mapped[Json]
    """The budget as it is now: that of `spec`, changed by whoever raised it."""
    spec_hash: Mapped[str]
    template: Mapped[str | None]
    """The template version that the spec was made from: `tpl_...@2`."""
    template_id: Mapped[str | None] = mapped_column(Computed("split_part(template, '@', 1)"))
    notify: Mapped[Json | None]
    """Which webhook endpoints hear of which events of this job; None: as the endpoints say."""
    parent_job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    parent_kind: Mapped[str | None]
    """retry or extend: how this job came from its parent."""
    init_from: Mapped[Json | None]
    """Where training starts from: `domain.init_from.Start` as JSON; None: from the base model."""
    least_gib: Mapped[float | None]
    """What it cannot do without on one GPU, raised where an attempt ran out of memory; None: not known."""
    peak_gib: Mapped[float | None]
    """What it is estimated to take on one GPU; None: not known. See `domain.capacity`."""
    trace_id: Mapped[str]

    status: Mapped[str]
    phase: Mapped[str]
    stop_reason: Mapped[str | None]
    error: Mapped[Json | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    pause_reason: Mapped[str | None]
    """requested, the ceiling that was reached, or budget_raised once it was raised; None: not paused."""
    paused_expires_at: Mapped[datetime | None]
    """When the sweeper ends a job that nobody resumes."""
    run_after: Mapped[datetime] = mapped_column(server_default=_NOW)
    """No attempt begins before."""
    deleted_at: Mapped[datetime | None]
    """When somebody deleted it: its files are gone for clients, the row stays."""
    purged_at: Mapped[datetime | None]
    """When the objects of a deleted job were removed from the store."""
    keep_adapter: Mapped[bool] = mapped_column(server_default=text("true"))

    attempt: Mapped[int] = mapped_column(server_default=_ZERO)
    preemptions: Mapped[int] = mapped_column(server_default=_ZERO)
    """Attempts that are not charged: drained, or lost with a worker after they had got further."""
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
    best_evaluation: Mapped[Json | None]
    """heldout_reward and step of the best periodic evaluation (`domain.best_checkpoint`)."""
    sheet: Mapped[Json | None]
    """The contact sheet: key, sha256 and size_bytes."""
    adapter_id: Mapped[UUID | None]

    last_seq: Mapped[int] = mapped_column(server_default=_ZERO)
    last_xact: Mapped[int] = mapped_column(server_default=_ZERO)
    """`Event.xact` of its newest event."""
    version: Mapped[int] = mapped_column(server_default=text("1"))
    """Grows with every change."""
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    """Grows with every change of what clients may set: name, labels, priority, budget."""
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
    __table_args__ = (
        Index("ix_attempts_unswept", "ended_at", postgresql_where=text("swept_at IS NULL")),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    hardware: Mapped[str]
    code_version: Mapped[str | None]
    """Which version of the service ran it (`domain.code_version`); None: from before that was kept."""
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_heartbeat_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    gpu_seconds_before: Mapped[float] = mapped_column(server_default=_ZERO)
    """The job's GPU-seconds when the attempt began."""
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    """succeeded, failed, cancelled, lost, released or paused."""
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
    swept_at: Mapped[datetime | None]
    """When the objects that no row points at were removed from the store."""


class Event(Base):
    """One numbered line of a job's history; `seq` counts from 1 without gaps."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_feed", "project_id", "xact", "job_id", "seq"),
        # Metrics are nearly all of the rows: a feed of them alone needs no index of its own.
        Index(
            "ix_events_feed_by_type",
            *("project_id", "type", "xact", "job_id", "seq"),
            postgresql_where=text("type <> 'job.metric'"),
        ),
    )

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(unique=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    xact: Mapped[int] = mapped_column(server_default=text("pg_current_xact_id()::text::bigint"))
    """The number of the transaction that wrote it, or of a later one: `domain.event_feed` says why."""
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
    counters: Mapped[Json]
    """What the run had used by then (`vader_core.lines.Counters`)."""
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
    """LoRA weights: the ones that a job ended with, or those of a checkpoint that somebody promoted."""

    __tablename__ = "adapters"
    __table_args__ = (
        CheckConstraint("kind IN ('final', 'promoted')", name="kind"),
        CheckConstraint("(kind = 'promoted') = (checkpoint_id IS NOT NULL)", name="promoted_from"),
        Index("uq_adapters_final", "job_id", unique=True, postgresql_where=text("kind = 'final'")),
        Index("ix_adapters_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), index=True)
    kind: Mapped[str]
    """final: what the job ended with, one at most; promoted: from `checkpoint_id`, sharing its files."""
    checkpoint_id: Mapped[UUID | None] = mapped_column(ForeignKey("checkpoints.id"), unique=True)
    attempt: Mapped[int]
    step: Mapped[int]
    prefix: Mapped[str]
    files: Mapped[list[Json]]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
