"""Webhook endpoints and deliveries as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from client.models import Delivery, DeliveryAttempt, WebhookEndpoint
from client.show.tables import labelled, moment, show_lines, show_table


def show_webhooks(console: Console, endpoints: Sequence[WebhookEndpoint]) -> None:
    """A table."""
    rows = [(one.id, one.url, _state(one)) for one in endpoints]
    show_table(console, ("endpoint", "url", "status"), rows)


def show_webhook(console: Console, endpoint: WebhookEndpoint) -> None:
    """One endpoint in some lines, with its secret where it was just made."""
    lines = [
        endpoint.id,
        *labelled("url", endpoint.url),
        *labelled("status", _state(endpoint)),
        *labelled("events", *(endpoint.event_types or ["all but job.metric"])),
    ]
    if endpoint.secret is not None:
        lines += labelled(
            "secret", endpoint.secret, "told this once: keep it where the receiver is"
        )
    show_lines(console, lines)


def show_deliveries(console: Console, deliveries: Sequence[Delivery]) -> None:
    """A table."""
    rows = [
        (one.id, one.event_type, one.status, str(len(one.attempts)), _last(one))
        for one in deliveries
    ]
    show_table(console, ("delivery", "event", "status", "tries", "last answer"), rows)


def show_delivery(console: Console, delivery: Delivery) -> None:
    """One delivery with its tries."""
    lines = [
        delivery.id,
        *labelled("event", delivery.event_type),
        *labelled("status", delivery.status),
        *(labelled("job", delivery.job_id) if delivery.job_id else []),
        *(labelled("generation", delivery.generation_id) if delivery.generation_id else []),
    ]
    tries = [
        f"{moment(one.at)}  {_answer(one)}, {one.duration_s:.2f} s" for one in delivery.attempts
    ]
    lines += labelled("tries", *tries)
    if delivery.next_attempt_at is not None:
        lines += labelled("next", moment(delivery.next_attempt_at))
    show_lines(console, lines)


def _state(endpoint: WebhookEndpoint) -> str:
    return "enabled" if endpoint.enabled else f"disabled: {endpoint.disabled_reason or 'requested'}"


def _last(delivery: Delivery) -> str:
    return _answer(delivery.attempts[-1]) if delivery.attempts else "-"


def _answer(attempt: DeliveryAttempt) -> str:
    return str(attempt.status_code or attempt.error or "-")
