"""The outbox: what webhook endpoints are to hear is queued in the transaction that makes it happen.

Messages are thin: they say what happened to which job or generation, and whoever wants more asks the API.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, case, func, or_, select
from sqlalchemy.orm import Session

from domain.event_types import QUIET_TYPES, TEST_TYPE
from domain.generation_table import Generation
from domain.ids import new_id, to_public
from domain.tables import Event, Job, Json
from domain.webhook_tables import WebhookDelivery, WebhookEndpoint

CHANNEL = "vader_webhooks"
"""Postgres tells this channel the id of a project for which a delivery is queued, once it is committed."""
MAX_PAYLOAD_BYTES = 20_000


def asked_with(event_type: str) -> tuple[SQLColumnExpression[Any], ...]:
    """What an UPDATE of jobs must return for `queue_event`, so that most events cost no query more.

    `endpoints`: those of the project that want the type, either by their own list or because the job's
    `notify` has events of its own; the rest is what messages tell.
    """
    named, own = Job.notify["events"], _want(event_type)
    wanted = case((func.jsonb_typeof(named) == "array", named.contains([event_type])), else_=own)
    endpoints = _endpoints(Job.project_id, wanted).correlate(Job).scalar_subquery()
    return (
        func.array(endpoints).label("endpoints"),
        *(Job.notify, Job.status, Job.stop_reason, Job.adapter_id, Job.labels),
        Job.evaluation["verdict"].astext.label("verdict"),
    )


def queue_event(session: Session, event: Event, job: Row[Any]) -> None:
    """One delivery for every endpoint in `job.endpoints` that the job's `notify` allows.

    `job` is what an UPDATE with `asked_with(event.type)` returned.
    """
    endpoints = _allowed(job.endpoints, job.notify)
    if not endpoints:
        return
    data: Json = {
        "job_id": to_public("job", event.job_id),
        "seq": event.seq,
        "status": job.status,
        "stop_reason": job.stop_reason,
        "adapter_id": None if job.adapter_id is None else to_public("ad", job.adapter_id),
        "verdict": job.verdict,
        "labels": job.labels,
    }
    payload = _payload(event.type, event.at, data)
    if len(payload.encode()) > MAX_PAYLOAD_BYTES:
        # Labels are the only part that can be long.
        payload = _payload(event.type, event.at, {**data, "labels": {}})
    session.add_all(
        WebhookDelivery(
            id=new_id(),
            endpoint_id=endpoint_id,
            project_id=event.project_id,
            event_id=event.id,
            event_type=event.type,
            job_id=event.job_id,
            payload=payload,
        )
        for endpoint_id in endpoints
    )
    announce(session, event.project_id)


def queue_generation(session: Session, row: Generation) -> None:
    """One delivery for every endpoint that wants to hear how the generation `row` has just ended."""
    event_type = f"generation.{row.status}"
    endpoints = list(session.scalars(_endpoints(row.project_id, _want(event_type))))
    if not endpoints:
        return
    data: Json = {
        "generation_id": to_public("gen", row.id),
        "status": row.status,
        "base_model": row.base_model,
        "adapter_id": None if row.adapter_id is None else to_public("ad", row.adapter_id),
        "error": None if row.error is None else row.error["code"],
    }
    payload, event_id = _payload(event_type, cast(datetime, row.finished_at), data), new_id()
    session.add_all(
        WebhookDelivery(
            id=new_id(),
            endpoint_id=endpoint_id,
            project_id=row.project_id,
            event_id=event_id,
            event_type=event_type,
            generation_id=row.id,
            payload=payload,
        )
        for endpoint_id in endpoints
    )
    announce(session, row.project_id)


def queue_test(session: Session, endpoint: WebhookEndpoint, *, now: datetime) -> WebhookDelivery:
    """A delivery of type `webhook.test` to the endpoint, whatever types it wants."""
    data: Json = {"webhook_endpoint_id": to_public("we", endpoint.id)}
    delivery = WebhookDelivery(
        id=new_id(),
        endpoint_id=endpoint.id,
        project_id=endpoint.project_id,
        event_id=new_id(),
        event_type=TEST_TYPE,
        payload=_payload(TEST_TYPE, now, data),
    )
    session.add(delivery)
    announce(session, endpoint.project_id)
    return delivery


def announce(session: Session, project_id: UUID) -> None:
    """Wakes the senders once this is committed."""
    session.execute(select(func.pg_notify(CHANNEL, str(project_id))))


def _want(event_type: str) -> ColumnElement[bool]:
    """Whether an endpoint's own list says that it wants the type."""
    own = WebhookEndpoint.event_types.contains([event_type])
    if event_type in QUIET_TYPES:
        return own
    return or_(own, WebhookEndpoint.event_types.is_(None))


def _endpoints(
    project_id: UUID | SQLColumnExpression[UUID], wanted: ColumnElement[bool]
) -> Select[UUID]:
    """The project's endpoints for which `wanted` holds, kept until the transaction ends."""
    query = select(WebhookEndpoint.id).where(
        WebhookEndpoint.project_id == project_id, WebhookEndpoint.enabled, wanted
    )
    # One that is being deleted is waited for, and then it is not there.
    return query.with_for_update(key_share=True, read=True)


def _allowed(endpoints: list[UUID], notify: Json | None) -> list[UUID]:
    """Those of `endpoints` that the job names; all where it names none."""
    named = (notify or {}).get("webhook_endpoints")
    if named is None:
        return endpoints
    return [endpoint for endpoint in endpoints if to_public("we", endpoint) in named]


def _payload(event_type: str, at: datetime, data: Json) -> str:
    timestamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {"type": event_type, "timestamp": timestamp, "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
