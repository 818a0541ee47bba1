"""`vader webhooks`: where the service tells of events, and what became of it."""

from __future__ import annotations

from typing import Annotated

import typer

from client.command import Everything, Limit, Session, command
from client.show.webhooks import (
    show_deliveries,
    show_delivery,
    show_webhook,
    show_webhooks,
)

webhooks_app = typer.Typer(help="Have events told to a URL.", no_args_is_help=True)

EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY")]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--event", help="Tell of these alone: job.succeeded; may be repeated."),
]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@command(webhooks_app, "create")
def create(
    session: Session,
    address: Annotated[str, typer.Argument(metavar="URL")],
    *,
    kinds: Kinds = None,
    description: Description = None,
) -> None:
    """Add an endpoint. Its secret is shown this once."""
    made = session.client.create_webhook(address, event_types=kinds, description=description or "")
    session.show(made, show_webhook)


@command(webhooks_app, "list")
def list_webhooks(session: Session, *, limit: Limit = 20, everything: Everything = False) -> None:
    """List endpoints, newest first."""
    listing = session.client.webhooks()
    session.show_list(listing, show_webhooks, limit=limit, everything=everything)


@command(webhooks_app, "get")
def get(session: Session, endpoint_id: EndpointId) -> None:
    """Show an endpoint."""
    session.show(session.client.webhook(endpoint_id), show_webhook)


@command(webhooks_app, "update")
def update(
    session: Session,
    endpoint_id: EndpointId,
    *,
    address: Annotated[str | None, typer.Option(help="Another URL.")] = None,
    kinds: Kinds = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable")] = None,
    description: Description = None,
) -> None:
    """Change an endpoint."""
    changed = session.client.update_webhook(
        endpoint_id, url=address, event_types=kinds, enabled=enabled, description=description
    )
    session.show(changed, show_webhook)


@command(webhooks_app, "rotate")
def rotate(
    session: Session,
    endpoint_id: EndpointId,
    *,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Seconds during which both secrets sign.")
    ] = None,
) -> None:
    """Give an endpoint a new secret, shown this once."""
    session.show(session.client.rotate_webhook_secret(endpoint_id, overlap_s=overlap), show_webhook)


@command(webhooks_app, "test")
def test(session: Session, endpoint_id: EndpointId) -> None:
    """Send a test event; `deliveries` says what became of it."""
    session.show(session.client.test_webhook(endpoint_id), show_delivery)


@command(webhooks_app, "deliveries")
def deliveries(
    session: Session,
    endpoint_id: EndpointId,
    *,
    status: Annotated[str | None, typer.Option(help="Only these.")] = None,
    limit: Limit = 20,
    everything: Everything = False,
) -> None:
    """List what was sent to an endpoint, newest first."""
    listing = session.client.deliveries(endpoint_id, status=status)
    session.show_list(listing, show_deliveries, limit=limit, everything=everything)


@command(webhooks_app, "delivery")
def delivery(session: Session, delivery_id: DeliveryId) -> None:
    """Show a delivery with its tries."""
    session.show(session.client.delivery(delivery_id), show_delivery)


@command(webhooks_app, "redeliver")
def redeliver(session: Session, delivery_id: DeliveryId) -> None:
    """Send a delivery once more."""
    session.show(session.client.redeliver(delivery_id), show_delivery)


@command(webhooks_app, "delete")
def delete(session: Session, endpoint_id: EndpointId) -> None:
    """Delete an endpoint: nothing more is sent there."""
    session.client.delete_webhook(endpoint_id)
    session.done(f"Deleted {endpoint_id}.", id=endpoint_id)
