"""The table of adapter aliases, typed: names such as `production` that a project's adapters go by."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base

_NOW = text("clock_timestamp()")


class AdapterAlias(Base):
    """A name that points at one adapter of the project. `version` grows with every move."""

    __tablename__ = "adapter_aliases"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    adapter_id: Mapped[UUID] = mapped_column(ForeignKey("adapters.id"), index=True)
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)
