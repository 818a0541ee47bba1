"""Deliveries of webhooks: claimed by senders, tried, recorded, and queued once more.

A sender holds a delivery by a lease and talks to the receiver outside of any transaction; one that dies
loses the lease, and the message is sent again: at least once, under the same `webhook-id`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID

from sqlalchemy import Select, delete, func, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from domain import audit, webhook_outbox, webhook_schedule, webhook_secrets
from domain.audit import Operator
from domain.errors import NotFound
from domain.ids import to_public
from domain.pages import Page, page
from domain.settings import get_settings
from domain.webhook_tables import (
    DeliveryStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from domain.webhooks import require_enabled

LEASE_S = 60.0
IN_FLIGHT_PER_ENDPOINT = 4
"""At most so many messages are on their way to one endpoint, over all senders."""
_PURGED_AT_ONCE = 1000


@dataclass(frozen=True)
class Claimed:
    """A delivery that a sender holds."""

    delivery_id: UUID
    endpoint_id: UUID
    project_id: UUID
    url: str
    message_id: str
    payload: str
    sealed: tuple[bytes, ...]
    """The endpoint's secrets that are valid now, newest first."""

    def signed(self, at: datetime) -> dict[str, str]:
        """The headers of a try at `at`. Raises `SecretUnreadable`."""
        secrets = [webhook_secrets.unseal(one, endpoint_id=self.endpoint_id) for one in self.sealed]
        return webhook_secrets.headers(
            secrets, message_id=self.message_id, at=at, payload=self.payload
        )


@dataclass(frozen=True)
class Outcome:
    """How a try ended. `status_code` None: there was no answer. `error` None: it was taken."""

    at: datetime
    duration_s: float
    status_code: int | None
    error: str | None
    retry_after_s: float | None = None


def claim(session: Session, *, room: int) -> list[Claimed]:
    """At most `room` due deliveries of enabled endpoints, held for `LEASE_S` seconds.

    Projects take turns, those with the least on its way first, and no endpoint gets more than its share:
    one that answers slowly delays nobody else's.
    """
    now = func.clock_timestamp()
    taken = (
        update(WebhookDelivery)
        .where(WebhookDelivery.id.in_(_due(room).scalar_subquery()))
        .values(lease_until=now + timedelta(seconds=LEASE_S))
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    )
    ids = list(session.scalars(taken))
    if not ids:
        return []
    previous = WebhookEndpoint.previous_secret_expires_at > now
    held = (
        select(WebhookDelivery, WebhookEndpoint, previous.label("overlaps"))
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.id.in_(ids))
    )
    return [
        _claimed(delivery, endpoint, overlaps=bool(overlaps))
        for delivery, endpoint, overlaps in session.execute(held)
    ]


def _due(room: int) -> Select[UUID]:
    now = func.clock_timestamp()
    one, held = aliased(WebhookDelivery), aliased(WebhookDelivery)
    count = select(func.count()).where(held.lease_until > now)
    to_endpoint = count.where(held.endpoint_id == WebhookEndpoint.id).correlate(WebhookEndpoint)
    of_project = count.where(held.project_id == WebhookEndpoint.project_id)
    left = IN_FLIGHT_PER_ENDPOINT - to_endpoint.scalar_subquery()
    due = (
        select(one.id, one.next_attempt_at)
        .where(
            one.endpoint_id == WebhookEndpoint.id,
            one.status == DeliveryStatus.PENDING,
            one.next_attempt_at <= now,
            or_(one.lease_until.is_(None), one.lease_until <= now),
        )
        .order_by(one.next_attempt_at)
        .limit(func.greatest(0, left))
        .with_for_update(skip_locked=True)
        .correlate(WebhookEndpoint)
        .lateral()
    )
    turn = (
        func.row_number().over(
            partition_by=WebhookEndpoint.project_id, order_by=due.c.next_attempt_at
        )
        + of_project.correlate(WebhookEndpoint).scalar_subquery()
    )
    return (
        select(due.c.id)
        .select_from(WebhookEndpoint)
        .join(due, true())
        .where(WebhookEndpoint.enabled)
        .order_by(turn, due.c.next_attempt_at)
        .limit(room)
    )


def _claimed(delivery: WebhookDelivery, endpoint: WebhookEndpoint, *, overlaps: bool) -> Claimed:
    older = endpoint.previous_secret if overlaps else None
    return Claimed(
        delivery_id=delivery.id,
        endpoint_id=endpoint.id,
        project_id=endpoint.project_id,
        url=endpoint.url,
        message_id=to_public("evt", delivery.event_id),
        payload=delivery.payload,
        sealed=(endpoint.secret, *(() if older is None else (older,))),
    )


def record(session: Session, claimed: Claimed, outcome: Outcome) -> None:
    """Notes the try and what follows: done, another try, or the end of delivery or endpoint.

    A delivery that was deleted meanwhile is passed over.
    """
    # Endpoint before delivery, as everywhere: two that lock both must not wait for each other.
    endpoint = session.get(
        WebhookEndpoint, claimed.endpoint_id, with_for_update={"key_share": True}
    )
    delivery = session.get(WebhookDelivery, claimed.delivery_id, with_for_update=True)
    if endpoint is None or delivery is None:
        return
    delivery.attempts += 1
    delivery.tries += 1
    delivery.lease_until = None
    session.add(
        WebhookAttempt(
            delivery_id=delivery.id,
            number=delivery.attempts,
            at=outcome.at,
            duration_s=outcome.duration_s,
            status_code=outcome.status_code,
            error=outcome.error,
        )
    )
    if outcome.error is None:
        endpoint.failing_since = None
        _end(session, delivery, DeliveryStatus.DELIVERED)
    elif delivery.status == DeliveryStatus.PENDING:
        _failed(session, endpoint, delivery, outcome)


def _failed(
    session: Session, endpoint: WebhookEndpoint, delivery: WebhookDelivery, outcome: Outcome
) -> None:
    endpoint.failing_since = endpoint.failing_since or outcome.at
    if outcome.status_code == HTTPStatus.GONE:
        _end(session, delivery, DeliveryStatus.FAILED)
        _disable(session, endpoint, "gone")
        return
    delay = webhook_schedule.delay_s(delivery.tries, retry_after_s=outcome.retry_after_s)
    if delay is not None:
        later = func.clock_timestamp() + timedelta(seconds=delay)
        delivery.next_attempt_at = session.scalars(select(later)).one()
        return
    _end(session, delivery, DeliveryStatus.FAILED)
    if endpoint.failing_since <= _round_began(session, delivery):
        # Nothing at all got through in all the time that this one was tried.
        _disable(session, endpoint, "failing")


def _round_began(session: Session, delivery: WebhookDelivery) -> datetime:
    first = delivery.attempts - delivery.tries + 1
    query = select(WebhookAttempt.at).where(
        WebhookAttempt.delivery_id == delivery.id, WebhookAttempt.number == first
    )
    return session.scalars(query).one()


def _end(session: Session, delivery: WebhookDelivery, status: DeliveryStatus) -> None:
    delivery.status = status.value
    delivery.next_attempt_at = None
    delivery.ended_at = session.scalars(select(func.clock_timestamp())).one()


def _disable(session: Session, endpoint: WebhookEndpoint, reason: str) -> None:
    if not endpoint.enabled:
        return
    endpoint.enabled, endpoint.disabled_reason = False, reason
    endpoint.version += 1
    endpoint.updated_at = session.scalars(select(func.clock_timestamp())).one()
    audit.record(
        session,
        Operator(endpoint.project_id),
        action="webhook_endpoint.disable",
        target=to_public("we", endpoint.id),
        details={"reason": reason},
    )


def get(session: Session, *, project_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """The delivery. Raises `NotFound`."""
    delivery = session.get(WebhookDelivery, delivery_id)
    if delivery is None or delivery.project_id != project_id:
        raise NotFound(f"There is no delivery {to_public('dlv', delivery_id)!r} in this project.")
    return delivery


def list_page(
    session: Session,
    *,
    endpoint: WebhookEndpoint,
    status: DeliveryStatus | None,
    cursor: str | None,
    limit: int,
) -> Page[WebhookDelivery]:
    """The endpoint's deliveries, newest first. Raises `InvalidCursor`."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    return page(
        session,
        query,
        keys=(WebhookDelivery.created_at, WebhookDelivery.id),
        filtered_by=f"deliveries {endpoint.id} {status}",
        cursor=cursor,
        limit=limit,
    )


def attempts_of(
    session: Session, deliveries: Sequence[WebhookDelivery]
) -> dict[UUID, list[WebhookAttempt]]:
    """The tries of each of the deliveries, oldest first."""
    found: dict[UUID, list[WebhookAttempt]] = {delivery.id: [] for delivery in deliveries}
    query = select(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(found))
    for attempt in session.scalars(query.order_by(WebhookAttempt.number)):
        found[attempt.delivery_id].append(attempt)
    return found


def redeliver(session: Session, *, project_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Queues the delivery once more, with all of its tries, whatever became of it.

    Raises `NotFound`, and `Conflict` while its endpoint is disabled.
    """
    delivery = get(session, project_id=project_id, delivery_id=delivery_id)
    session.refresh(delivery, with_for_update=True)
    require_enabled(session.get_one(WebhookEndpoint, delivery.endpoint_id))
    delivery.status = DeliveryStatus.PENDING.value
    delivery.tries, delivery.ended_at = 0, None
    delivery.next_attempt_at = session.scalars(select(func.clock_timestamp())).one()
    webhook_outbox.announce(session, delivery.project_id)
    return delivery


def purge(session: Session) -> int:
    """Deletes some of the deliveries older than `webhook_keep_days`; how many."""
    keep = timedelta(days=get_settings().webhook_keep_days)
    old = select(WebhookDelivery.id).where(
        WebhookDelivery.created_at < func.clock_timestamp() - keep
    )
    chosen = old.order_by(WebhookDelivery.created_at).limit(_PURGED_AT_ONCE)
    gone = delete(WebhookDelivery).where(WebhookDelivery.id.in_(chosen.scalar_subquery()))
    return len(list(session.scalars(gone.returning(WebhookDelivery.id))))
