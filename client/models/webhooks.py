"""Webhook endpoints and what was delivered to them."""

from __future__ import annotations

from datetime import datetime

from client.models.shared import Answer, Tagged


class WebhookEndpoint(Tagged):
    """A URL that is told of events; `event_types` None: of all but `job.metric`.

    `secret` is told once, when the endpoint was just made or its secret rotated.
    """

    id: str
    url: str
    description: str = ""
    event_types: list[str] | None = None
    enabled: bool
    disabled_reason: str | None = None
    failing_since: datetime | None = None
    previous_secret_expires_at: datetime | None = None
    secret: str | None = None
    created_at: datetime


class DeliveryAttempt(Answer):
    """One try."""

    number: int
    at: datetime
    duration_s: float
    status_code: int | None = None
    error: str | None = None


class Delivery(Answer):
    """One message for one endpoint, with every try at it."""

    id: str
    webhook_endpoint_id: str
    event_id: str
    event_type: str
    job_id: str | None = None
    generation_id: str | None = None
    status: str
    next_attempt_at: datetime | None = None
    attempts: list[DeliveryAttempt] = []
    created_at: datetime
    ended_at: datetime | None = None
