"""The tables of job templates, typed: a template and its versions, which never change."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base, Json

_NOW = text("clock_timestamp()")


class JobTemplate(Base):
    """A named start for jobs. What it says is in its versions; `version` is the newest one's number."""

    __tablename__ = "job_templates"
    __table_args__ = (
        Index(
            "uq_job_templates_name",
            "project_id",
            "name",
            unique=True,
            postgresql_where=text("archived_at IS NULL"),
        ),
        Index("ix_job_templates_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    archived_at: Mapped[datetime | None]
    """From then on no new job may name it."""


class JobTemplateVersion(Base):
    """What a template said from one change to the next."""

    __tablename__ = "job_template_versions"

    template_id: Mapped[UUID] = mapped_column(ForeignKey("job_templates.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    description: Mapped[str]
    spec: Mapped[Json]
    """A part of a job spec, or the whole of one, as it was written."""
    created_by_key_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_keys.id"))
    created_by_member_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
