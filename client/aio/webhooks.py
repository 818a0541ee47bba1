"""Webhooks: where the service tells of events, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from client.aio.calls import Calls, Listing
from client.answers import given
from client.models import Delivery, WebhookEndpoint
from client.paths import at


class WebhookCalls(Calls):
    """Webhook endpoints and deliveries."""

    async def create_webhook(
        self,
        url: str,
        *,
        event_types: Sequence[str] | None = None,
        description: str = "",
        idempotency_key: str | None = None,
    ) -> WebhookEndpoint:
        """A new endpoint; its `secret` is told this once. None: it hears of all but `job.metric`."""
        kinds = event_types and list(event_types)
        body = {"url": url, "event_types": kinds, "description": description}
        path = at("/v1/webhook-endpoints")
        return await self._post(WebhookEndpoint, path, body, idempotency_key=idempotency_key)

    def webhooks(self) -> Listing[WebhookEndpoint]:
        """This project's endpoints, newest first."""
        return self._list(WebhookEndpoint, at("/v1/webhook-endpoints"))

    async def webhook(self, endpoint_id: str) -> WebhookEndpoint:
        """One endpoint."""
        return await self._get(WebhookEndpoint, at("/v1/webhook-endpoints/{}", endpoint_id))

    async def update_webhook(
        self,
        endpoint: WebhookEndpoint | str,
        *,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
        enabled: bool | None = None,
        description: str | None = None,
    ) -> WebhookEndpoint:
        """Changes what is given of an endpoint; `enabled` True brings a disabled one back."""
        if isinstance(endpoint, str) or endpoint.etag is None:
            endpoint_id = endpoint if isinstance(endpoint, str) else endpoint.id
            endpoint = await self.webhook(endpoint_id)
        optional = {"url": url, "enabled": enabled, "description": description}
        changes = given({**optional, "event_types": event_types and list(event_types)})
        path = at("/v1/webhook-endpoints/{}", endpoint.id)
        return await self._patch(WebhookEndpoint, path, changes, etag=endpoint.etag)

    async def delete_webhook(self, endpoint_id: str) -> None:
        """Nothing more is sent there."""
        await self._delete(at("/v1/webhook-endpoints/{}", endpoint_id))

    async def rotate_webhook_secret(
        self, endpoint_id: str, *, overlap_s: int | None = None, idempotency_key: str | None = None
    ) -> WebhookEndpoint:
        """A new secret, told this once; for `overlap_s` deliveries are signed with both."""
        path = at("/v1/webhook-endpoints/{}/rotate-secret", endpoint_id)
        body = given({"overlap_s": overlap_s})
        return await self._post(WebhookEndpoint, path, body, idempotency_key=idempotency_key)

    async def test_webhook(
        self, endpoint_id: str, *, idempotency_key: str | None = None
    ) -> Delivery:
        """Sends a test event there."""
        path = at("/v1/webhook-endpoints/{}/test", endpoint_id)
        return await self._post(Delivery, path, idempotency_key=idempotency_key)

    def deliveries(self, endpoint_id: str, *, status: str | None = None) -> Listing[Delivery]:
        """What was sent there, newest first."""
        path = at("/v1/webhook-endpoints/{}/deliveries", endpoint_id)
        return self._list(Delivery, path, {"status": status})

    async def delivery(self, delivery_id: str) -> Delivery:
        """One delivery with its tries."""
        return await self._get(Delivery, at("/v1/deliveries/{}", delivery_id))

    async def redeliver(self, delivery_id: str, *, idempotency_key: str | None = None) -> Delivery:
        """Sends it once more."""
        path = at("/v1/deliveries/{}/redeliver", delivery_id)
        return await self._post(Delivery, path, idempotency_key=idempotency_key)
