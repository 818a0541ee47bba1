"""Webhook endpoints and deliveries as clients ask for them and see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.shared import At, Page, Shape
from domain import ids
from domain.webhook_tables import (
    DeliveryStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from vader_core.strict import Strict

MAX_OVERLAP_S = 7 * 24 * 3600
Url = Annotated[
    str,
    Field(
        max_length=2000,
        description="https, port 443, a host of the public internet.",
        json_schema_extra={"format": "uri"},
    ),
]
Description = Annotated[str, Field(max_length=500)]
EventTypes = Annotated[
    list[Annotated[str, Field(max_length=100)]] | None,
    Field(
        min_length=1,
        max_length=100,
        description="What to hear of, of jobs and of generations (`generation.succeeded`, `generation.failed`, "
        "`generation.cancelled`); null: of all but `job.metric`.",
        examples=[["job.succeeded", "job.failed"]],
    ),
]


class WebhookEndpointRequest(Strict):
    """A new endpoint."""

    url: Url
    description: Description = ""
    event_types: EventTypes = None
    enabled: bool = True


class WebhookEndpointChange(Strict):
    """What is to change; what is left out stays."""

    url: Url = ""
    description: Description = ""
    event_types: EventTypes = None
    enabled: bool = True


class RotateSecretRequest(Strict):
    """For how long the old secret goes on to sign beside the new one."""

    overlap_s: Annotated[int, Field(ge=0, le=MAX_OVERLAP_S)] = 24 * 3600


class WebhookEndpointShape(Shape):
    """An address that hears of the project's events, by Standard Webhooks 1.0.0."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    description: str
    event_types: list[str] | None = Field(description="null: all but `job.metric`.")
    enabled: bool
    disabled_reason: str | None = Field(
        description="requested; gone (it answered 410); failing (nothing got through for 75 hours); the "
        "set is open."
    )
    failing_since: At | None = Field(description="The first failed try since the last success.")
    previous_secret_expires_at: At | None = Field(
        description="Until then deliveries are signed with the old secret too."
    )
    version: int
    created_at: At
    updated_at: At

    @staticmethod
    def of(row: WebhookEndpoint) -> WebhookEndpointShape:
        return WebhookEndpointShape(**_shown(row))


class WebhookEndpointWithSecret(WebhookEndpointShape):
    """An endpoint and its new secret."""

    secret: str | None = Field(
        description="`whsec_...`: shown this once, null where the request is repeated."
    )

    @staticmethod
    def of_new(row: WebhookEndpoint, secret: str) -> WebhookEndpointWithSecret:
        return WebhookEndpointWithSecret(**_shown(row), secret=secret)


def _shown(row: WebhookEndpoint) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in _COLUMNS}
    return {**fields, "id": ids.to_public("we", row.id)}


_COLUMNS = WebhookEndpointShape.model_fields.keys() - {"id", "object"}


class WebhookEndpointPage(Page[WebhookEndpointShape]):
    """Endpoints, newest first."""


class DeliveryAttemptShape(Shape):
    """One try. What the receiver answered is not kept but its status code."""

    number: int
    at: At
    duration_s: float
    status_code: int | None
    error: str | None

    @staticmethod
    def of(row: WebhookAttempt) -> DeliveryAttemptShape:
        return DeliveryAttemptShape(
            number=row.number,
            at=row.at,
            duration_s=row.duration_s,
            status_code=row.status_code,
            error=row.error,
        )


class DeliveryShape(Shape):
    """One message for one endpoint, with every try at it."""

    id: str
    object: Literal["delivery"] = "delivery"
    webhook_endpoint_id: str
    event_id: str = Field(
        description="The header `webhook-id`: the same for every try and redelivery."
    )
    event_type: str
    job_id: str | None
    generation_id: str | None = Field(description="What it tells of, unless that is a job.")
    status: DeliveryStatus
    next_attempt_at: At | None = Field(
        description="When it is due, as long as it is pending and the endpoint enabled."
    )
    attempts: list[DeliveryAttemptShape]
    created_at: At
    ended_at: At | None

    @staticmethod
    def of(row: WebhookDelivery, attempts: Sequence[WebhookAttempt]) -> DeliveryShape:
        return DeliveryShape(
            id=ids.to_public("dlv", row.id),
            webhook_endpoint_id=ids.to_public("we", row.endpoint_id),
            event_id=ids.to_public("evt", row.event_id),
            event_type=row.event_type,
            job_id=None if row.job_id is None else ids.to_public("job", row.job_id),
            generation_id=None
            if row.generation_id is None
            else ids.to_public("gen", row.generation_id),
            status=DeliveryStatus(row.status),
            next_attempt_at=row.next_attempt_at,
            attempts=[DeliveryAttemptShape.of(attempt) for attempt in attempts],
            created_at=row.created_at,
            ended_at=row.ended_at,
        )


class DeliveryPage(Page[DeliveryShape]):
    """Deliveries, newest first."""
