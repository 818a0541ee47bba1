"""Webhook endpoints: the addresses that a project's events are sent to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from domain import audit, webhook_outbox, webhook_secrets
from domain.callers import Caller
from domain.errors import Conflict, NotFound
from domain.ids import new_id, to_public
from domain.pages import Page, page
from domain.tables import Json, Project
from domain.webhook_tables import WebhookDelivery, WebhookEndpoint

MAX_ENDPOINTS = 20
"""Of one project."""


@dataclass(frozen=True)
class Wish:
    """What an endpoint is to be. `event_types` None: all but the quiet ones."""

    url: str
    description: str
    event_types: Sequence[str] | None
    enabled: bool


def create(session: Session, caller: Caller, wish: Wish) -> tuple[WebhookEndpoint, str]:
    """A new endpoint and its secret, which is shown this once. Raises `Conflict` at the limit."""
    # Of several at once each counts those before it.
    own = select(Project.id).where(Project.id == caller.project_id)
    session.scalars(own.with_for_update(key_share=True)).one()
    held = select(func.count()).where(WebhookEndpoint.project_id == caller.project_id)
    if session.scalars(held).one() >= MAX_ENDPOINTS:
        raise Conflict(f"A project has at most {MAX_ENDPOINTS} webhook endpoints.")
    secret, endpoint_id = webhook_secrets.new_secret(), new_id()
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        project_id=caller.project_id,
        url=wish.url,
        description=wish.description,
        event_types=_listed(wish.event_types),
        enabled=wish.enabled,
        disabled_reason=None if wish.enabled else "requested",
        secret=webhook_secrets.seal(secret, endpoint_id=endpoint_id),
    )
    session.add(endpoint)
    session.flush()
    session.refresh(endpoint)
    _note(session, caller, endpoint, "create", {"host": _host(endpoint)})
    return endpoint, webhook_secrets.shown(secret)


def get(
    session: Session, *, project_id: UUID, endpoint_id: UUID, lock: bool = False
) -> WebhookEndpoint:
    """The endpoint; with `lock`, held until the transaction ends. Raises `NotFound`."""
    # Not so strong a lock that events which are queued for the endpoint would wait for it.
    held = {"key_share": True} if lock else None
    endpoint = session.get(WebhookEndpoint, endpoint_id, with_for_update=held)
    if endpoint is None or endpoint.project_id != project_id:
        shown = to_public("we", endpoint_id)
        raise NotFound(f"There is no webhook endpoint {shown!r} in this project.")
    return endpoint


def list_page(
    session: Session, *, project_id: UUID, cursor: str | None, limit: int
) -> Page[WebhookEndpoint]:
    """The project's endpoints, newest first. Raises `InvalidCursor`."""
    return page(
        session,
        select(WebhookEndpoint).where(WebhookEndpoint.project_id == project_id),
        keys=(WebhookEndpoint.created_at, WebhookEndpoint.id),
        filtered_by=f"webhook-endpoints {project_id}",
        cursor=cursor,
        limit=limit,
    )


def known_endpoints(session: Session, *, project_id: UUID, ids: Collection[UUID]) -> set[UUID]:
    """Those of `ids` that are endpoints of the project."""
    query = select(WebhookEndpoint.id).where(
        WebhookEndpoint.project_id == project_id, WebhookEndpoint.id.in_(ids)
    )
    return set(session.scalars(query))


def change(
    session: Session, caller: Caller, endpoint: WebhookEndpoint, changes: dict[str, Any]
) -> None:
    """Sets the fields of a `Wish` that `changes` names, on an endpoint that was got with `lock`.

    One that is enabled again goes on with what is pending.
    """
    if "enabled" in changes and changes["enabled"] != endpoint.enabled:
        endpoint.enabled = changes["enabled"]
        endpoint.disabled_reason = None if endpoint.enabled else "requested"
        endpoint.failing_since = None
        webhook_outbox.announce(session, endpoint.project_id)
    for name in ("url", "description"):
        setattr(endpoint, name, changes.get(name, getattr(endpoint, name)))
    if "event_types" in changes:
        endpoint.event_types = _listed(changes["event_types"])
    _changed(session, endpoint)
    _note(session, caller, endpoint, "change", {"changed": sorted(changes)})


def rotate_secret(
    session: Session, caller: Caller, endpoint_id: UUID, *, overlap: timedelta
) -> tuple[WebhookEndpoint, str]:
    """The endpoint and its new secret, shown this once; for `overlap` the old one signs as well.

    Raises `NotFound`.
    """
    endpoint = get(session, project_id=caller.project_id, endpoint_id=endpoint_id, lock=True)
    secret = webhook_secrets.new_secret()
    now = session.scalars(select(func.clock_timestamp())).one()
    endpoint.previous_secret = endpoint.secret if overlap else None
    endpoint.previous_secret_expires_at = now + overlap if overlap else None
    endpoint.secret = webhook_secrets.seal(secret, endpoint_id=endpoint.id)
    _changed(session, endpoint)
    _note(session, caller, endpoint, "rotate_secret", {"overlap_s": int(overlap.total_seconds())})
    return endpoint, webhook_secrets.shown(secret)


def remove(session: Session, caller: Caller, endpoint_id: UUID) -> None:
    """Deletes the endpoint with all of its deliveries. Raises `NotFound`."""
    endpoint = get(session, project_id=caller.project_id, endpoint_id=endpoint_id, lock=True)
    _note(session, caller, endpoint, "delete", {"host": _host(endpoint)})
    session.delete(endpoint)


def send_test(session: Session, caller: Caller, endpoint_id: UUID) -> WebhookDelivery:
    """Queues a `webhook.test`. Raises `NotFound`, and `Conflict` for a disabled endpoint."""
    endpoint = get(session, project_id=caller.project_id, endpoint_id=endpoint_id)
    require_enabled(endpoint)
    now = session.scalars(select(func.clock_timestamp())).one()
    delivery = webhook_outbox.queue_test(session, endpoint, now=now)
    session.flush()
    session.refresh(delivery)
    return delivery


def require_enabled(endpoint: WebhookEndpoint) -> None:
    """Raises `Conflict` when nothing is sent to the endpoint now."""
    if not endpoint.enabled:
        raise Conflict("The endpoint is disabled: enable it first.")


def _changed(session: Session, endpoint: WebhookEndpoint) -> None:
    endpoint.version += 1
    endpoint.updated_at = session.scalars(select(func.clock_timestamp())).one()


def _listed(types: Sequence[str] | None) -> list[str] | None:
    return None if types is None else sorted(set(types))


def _host(endpoint: WebhookEndpoint) -> str | None:
    # The rest of a URL may hold a secret of the receiver.
    return urlsplit(endpoint.url).hostname


def _note(
    session: Session, caller: Caller, endpoint: WebhookEndpoint, verb: str, details: Json
) -> None:
    audit.record(
        session,
        caller,
        action=f"webhook_endpoint.{verb}",
        target=to_public("we", endpoint.id),
        details=details,
    )
