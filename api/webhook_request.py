"""Documents that make or change a webhook endpoint, checked in every respect at once."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from api.documents import checked
from api.schemas.webhooks import WebhookEndpointChange, WebhookEndpointRequest
from domain import event_types, webhook_urls
from domain.webhooks import Wish
from vader_core.faults import Fault


def asked_endpoint(document: JsonValue, *, allow_private: bool) -> Wish:
    """The endpoint that `document` asks for. Raises `ValidationFailed`."""
    faults = _faults(document, allow_private=allow_private)
    asked = checked(document, WebhookEndpointRequest, further=faults)
    return Wish(
        url=asked.url,
        description=asked.description,
        event_types=asked.event_types,
        enabled=asked.enabled,
    )


def asked_change(document: JsonValue, *, allow_private: bool) -> dict[str, Any]:
    """The fields that `document` names. Raises `ValidationFailed`."""
    faults = _faults(document, allow_private=allow_private)
    asked = checked(document, WebhookEndpointChange, further=faults)
    return asked.model_dump(include=asked.model_fields_set)


def _faults(document: JsonValue, *, allow_private: bool) -> list[Fault]:
    """What the shape does not say: where webhooks may go, and which events there are."""
    if not isinstance(document, dict):
        return []
    faults = []
    url, types = document.get("url"), document.get("event_types")
    wrong = webhook_urls.fault(url, allow_private=allow_private) if isinstance(url, str) else None
    if wrong is not None:
        faults.append(Fault(pointer="/url", code="illegal_url", detail=wrong))
    if isinstance(types, list):
        named = [name if isinstance(name, str) else "" for name in types]
        known = event_types.WEBHOOK_TYPES
        unknown = event_types.faults(named, pointer="/event_types", known=known)
        faults += [fault for fault in unknown if isinstance(types[_index(fault)], str)]
    return faults


def _index(fault: Fault) -> int:
    return int(fault.pointer.rpartition("/")[2])
