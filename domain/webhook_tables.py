"""The tables of webhooks, typed: endpoints, deliveries (the outbox) and the attempts at them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from domain.tables import Base

_NOW = text("clock_timestamp()")
_ZERO = text("0")


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """It will be tried, now or later; not as long as its endpoint is disabled."""
    DELIVERED = "delivered"
    """The receiver answered with a status of 2xx."""
    FAILED = "failed"
    """All tries were in vain, or the receiver is gone."""


class WebhookEndpoint(Base):
    """An address of a project that hears of events. Its secrets are stored encrypted."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        Index("ix_webhook_endpoints_page", "project_id", text("created_at DESC"), text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    url: Mapped[str]
    description: Mapped[str]
    event_types: Mapped[list[str] | None]
    """None: all but the quiet ones."""
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    disabled_reason: Mapped[str | None]
    """requested, gone or failing; None while it is enabled."""
    failing_since: Mapped[datetime | None]
    """The first failed try since the last success."""
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_secret_expires_at: Mapped[datetime | None]
    """Until then deliveries are signed with both."""
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    updated_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class WebhookDelivery(Base):
    """One message for one endpoint. `lease_until` is set while a sender holds it."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        Index(
            "ix_webhook_deliveries_due",
            *("endpoint_id", "next_attempt_at"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_webhook_deliveries_held",
            *("project_id", "endpoint_id"),
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
        Index(
            "ix_webhook_deliveries_page", "endpoint_id", text("created_at DESC"), text("id DESC")
        ),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id"))
    event_id: Mapped[UUID]
    """The `webhook-id`: the same for every try, every endpoint and every redelivery."""
    event_type: Mapped[str]
    job_id: Mapped[UUID | None]
    generation_id: Mapped[UUID | None]
    """What it tells of; neither for a test."""
    payload: Mapped[str]
    """The body as it is sent and signed."""
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    tries: Mapped[int] = mapped_column(server_default=_ZERO)
    """Since it was last queued: its place in the schedule of retries."""
    attempts: Mapped[int] = mapped_column(server_default=_ZERO)
    """In all."""
    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=_NOW)
    """None once it has ended."""
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    ended_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One try. What the receiver answered is not kept but its status code."""

    __tablename__ = "webhook_attempts"

    delivery_id: Mapped[UUID] = mapped_column(
        ForeignKey("webhook_deliveries.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    """When it began."""
    duration_s: Mapped[float]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    """Why it failed, where there was no answer or a bad one."""
