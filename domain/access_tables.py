"""The tables of access, typed: members and their sessions, quotas, usage and the audit log."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base, Json

_NOW = text("clock_timestamp()")
_ZERO = text("0")


class Member(Base):
    """A person who may sign in to one project. Its password is of this project alone."""

    __tablename__ = "members"
    __table_args__ = (
        CheckConstraint("role IN ('viewer', 'editor', 'admin')", name="role"),
        Index(
            "uq_members_project_id_email",
            "project_id",
            "email",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index("ix_members_email", "email"),
        Index("ix_members_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    email: Mapped[str]
    """In lower case."""
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str | None]
    """Argon2id; None until the invitation is accepted."""
    invitation_hash: Mapped[bytes | None] = mapped_column(unique=True)
    """HMAC-SHA256 of the invitation's token; None once it is accepted."""
    invitation_expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    joined_at: Mapped[datetime | None]
    removed_at: Mapped[datetime | None]


class MemberSession(Base):
    """A member who is signed in with one browser."""

    __tablename__ = "member_sessions"
    __table_args__ = (
        Index("ix_member_sessions_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    member_id: Mapped[UUID] = mapped_column(ForeignKey("members.id"), index=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    """HMAC-SHA256 of the cookie's token."""
    address: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    last_used_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ProjectQuota(Base):
    """What one project may use. None: as the settings say."""

    __tablename__ = "project_quotas"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    running_jobs: Mapped[int | None]
    queued_jobs: Mapped[int | None]
    gpu_seconds_a_month: Mapped[int | None]
    storage_bytes: Mapped[int | None]
    generations_a_month: Mapped[int | None]
    templates: Mapped[int | None]
    template_versions: Mapped[int | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class UsageEntry(Base):
    """What one job, generation or scoring used on one day (UTC). Grows where its counters grow."""

    __tablename__ = "usage_entries"
    __table_args__ = (
        CheckConstraint("kind IN ('training', 'generation', 'scoring')", name="kind"),
        Index(
            "ix_usage_entries_project_id_day",
            "project_id",
            "day",
            postgresql_include=["gpu_seconds"],
        ),
    )

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    """Of the job, generation or scoring."""
    day: Mapped[date] = mapped_column(Date(), primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str]
    base_model: Mapped[str]
    team: Mapped[str]
    """The job's label `team`; empty without one."""
    gpu_seconds: Mapped[float] = mapped_column(server_default=_ZERO)
    reward_queries: Mapped[int] = mapped_column(server_default=_ZERO)
    evaluation_queries: Mapped[int] = mapped_column(server_default=_ZERO)


class StoredBytes(Base):
    """What a project has in the object store: the sum over its shards. Triggers keep it.

    Shards, so that workers which store files of one project at once do not wait for each other.
    """

    __tablename__ = "stored_bytes"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    shard: Mapped[int] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]


class AuditEntry(Base):
    """Who did what, when and from where. Rows are neither changed nor removed, which a trigger keeps."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        CheckConstraint("actor_type IN ('api_key', 'member', 'operator')", name="actor_type"),
        Index("ix_audit_entries_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    """Of the key or the member; None for an operator."""
    action: Mapped[str]
    """`thing.verb`, for example job.cancel."""
    target: Mapped[str | None]
    """The public id of what it was done to."""
    details: Mapped[Json]
    request_id: Mapped[str | None]
    address: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
