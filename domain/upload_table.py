"""The table of uploads, typed: images and videos that teams bring. `domain.tables` has those of jobs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base

_NOW = text("clock_timestamp()")


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
