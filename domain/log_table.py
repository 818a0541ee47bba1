"""The table of live logs, typed: what running attempts have logged and no object store has yet."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base


class LogChunk(Base):
    """A piece of an attempt's log, from its byte `start` on."""

    __tablename__ = "log_chunks"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[bytes]
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
