"""Webhooks: endpoints that hear of events, what was delivered to them, and once more."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.deps import CallerDep, SettingsDep, scope
from api.documents import JsonDocument, checked
from api.once import answer_of, once
from api.openapi import acts, posts, problems, takes
from api.paging import CursorParameter, LimitParameter, link_next
from api.schemas.webhooks import (
    DeliveryPage,
    DeliveryShape,
    RotateSecretRequest,
    WebhookEndpointChange,
    WebhookEndpointPage,
    WebhookEndpointRequest,
    WebhookEndpointShape,
    WebhookEndpointWithSecret,
)
from api.waiting import etag_matches
from api.webhook_request import asked_change, asked_endpoint
from domain import db, ids, webhook_deliveries, webhooks
from domain.errors import EtagMismatch
from domain.idempotency import Replay
from domain.webhook_tables import DeliveryStatus, WebhookEndpoint

router = APIRouter(tags=["webhooks"], dependencies=[scope("webhooks:write")])

EXAMPLE: dict[str, Any] = {
    "url": "https://example.com/hooks/vader",
    "description": "tells the ads channel",
    "event_types": ["job.succeeded", "job.failed", "job.budget_warning"],
}
_ENDPOINT = "/webhook-endpoints/{endpoint_id}"


@router.post(
    "/webhook-endpoints",
    status_code=201,
    response_model=WebhookEndpointWithSecret,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra=posts(WebhookEndpointRequest, examples={"endpoint": EXAMPLE}, required=True),
)
def create_webhook_endpoint(
    request: Request, caller: CallerDep, settings: SettingsDep, document: JsonDocument
) -> JSONResponse:
    """An address that is sent the project's events, signed by Standard Webhooks 1.0.0 with `secret`.

    A message is tried ten times over about 75 hours (after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h
    and 24 h, each 10 % more or less; later where `Retry-After` says so), until an answer with a status of
    2xx comes within 10 s. Redirects are not followed. 410 disables the endpoint, and so do 75 hours in
    which nothing gets through. Messages may come twice, or in another order: go by `webhook-id` and `seq`.
    """
    wish = asked_endpoint(document, allow_private=settings.webhook_allow_private)

    def act(session: Session) -> Replay:
        endpoint, secret = webhooks.create(session, caller, wish)
        shown = WebhookEndpointWithSecret.of_new(endpoint, secret)
        headers = {"Location": f"/v1/webhook-endpoints/{shown.id}", "ETag": _etag(endpoint)}
        return answer_of(shown, status_code=201, headers=headers, unstored=("secret",))

    return once(request, caller, document, act)


@router.get("/webhook-endpoints", response_model=WebhookEndpointPage, responses=problems(400, 403))
def list_webhook_endpoints(
    request: Request,
    response: Response,
    caller: CallerDep,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> WebhookEndpointPage:
    """The project's endpoints, newest first."""
    with db.read() as session:
        found = webhooks.list_page(
            session, project_id=caller.project_id, cursor=cursor, limit=limit
        )
    link_next(request, response, cursor=found.next_cursor)
    shown = [WebhookEndpointShape.of(row) for row in found.items]
    return WebhookEndpointPage(
        data=shown, next_cursor=found.next_cursor, has_more=found.next_cursor is not None
    )


@router.get(_ENDPOINT, response_model=WebhookEndpointShape, responses=problems(403, 404))
def get_webhook_endpoint(
    response: Response, endpoint_id: str, caller: CallerDep
) -> WebhookEndpointShape:
    """One endpoint, without its secret."""
    with db.read() as session:
        endpoint = _endpoint(session, caller, endpoint_id)
    response.headers["ETag"] = _etag(endpoint)
    return WebhookEndpointShape.of(endpoint)


@router.patch(
    _ENDPOINT,
    response_model=WebhookEndpointShape,
    responses=problems(400, 403, 404, 412, 413, 415, 428),
    openapi_extra=takes(WebhookEndpointChange, examples={"disable": {"enabled": False}}),
)
def change_webhook_endpoint(
    response: Response,
    endpoint_id: str,
    caller: CallerDep,
    settings: SettingsDep,
    document: JsonDocument,
    if_match: Annotated[
        str,
        Header(
            alias="If-Match",
            description="The `ETag` of the endpoint as you read it, or `*`: 412 where it has changed since.",
        ),
    ],
) -> WebhookEndpointShape:
    """Changes what the body names. One that is enabled again is sent what is still pending."""
    changes = asked_change(document, allow_private=settings.webhook_allow_private)
    with db.transaction() as session:
        endpoint = _endpoint(session, caller, endpoint_id, lock=True)
        if not etag_matches(if_match, _etag(endpoint)):
            raise EtagMismatch("The endpoint was changed since: read it again.")
        webhooks.change(session, caller, endpoint, changes)
    response.headers["ETag"] = _etag(endpoint)
    return WebhookEndpointShape.of(endpoint)


@router.delete(_ENDPOINT, status_code=204, responses=problems(403, 404))
def delete_webhook_endpoint(endpoint_id: str, caller: CallerDep) -> None:
    """Deletes it with all of its deliveries, the pending ones too."""
    with db.transaction() as session:
        webhooks.remove(session, caller, ids.from_public("we", endpoint_id))


@router.post(
    f"{_ENDPOINT}/rotate-secret",
    response_model=WebhookEndpointWithSecret,
    responses=problems(400, 403, 404, 409, 413, 415),
    openapi_extra=posts(
        RotateSecretRequest, examples={"an hour": {"overlap_s": 3600}}, required=False
    ),
)
def rotate_webhook_secret(
    request: Request, endpoint_id: str, caller: CallerDep, document: JsonDocument
) -> JSONResponse:
    """A new secret. For `overlap_s` seconds deliveries carry two signatures, by the new and the old one;
    with 0 the old one ends at once."""
    overlap = timedelta(seconds=checked(document, RotateSecretRequest).overlap_s)
    wanted = ids.from_public("we", endpoint_id)

    def act(session: Session) -> Replay:
        endpoint, secret = webhooks.rotate_secret(session, caller, wanted, overlap=overlap)
        shown = WebhookEndpointWithSecret.of_new(endpoint, secret)
        headers = {"ETag": _etag(endpoint)}
        return answer_of(shown, status_code=200, headers=headers, unstored=("secret",))

    return once(request, caller, document, act)


@router.post(
    f"{_ENDPOINT}/test",
    status_code=202,
    response_model=DeliveryShape,
    responses=problems(400, 403, 404, 409),
    openapi_extra=acts(),
)
def test_webhook_endpoint(request: Request, endpoint_id: str, caller: CallerDep) -> JSONResponse:
    """Queues a message of type `webhook.test`; look at the delivery to see what became of it."""
    wanted = ids.from_public("we", endpoint_id)

    def act(session: Session) -> Replay:
        delivery = webhooks.send_test(session, caller, wanted)
        shown = DeliveryShape.of(delivery, [])
        return answer_of(shown, status_code=202, headers=_location(shown))

    return once(request, caller, None, act)


@router.get(
    f"{_ENDPOINT}/deliveries", response_model=DeliveryPage, responses=problems(400, 403, 404)
)
def list_deliveries(  # noqa: PLR0913 (the query's parameters)
    request: Request,
    response: Response,
    endpoint_id: str,
    caller: CallerDep,
    status: DeliveryStatus | None = None,
    cursor: CursorParameter = None,
    limit: LimitParameter = 20,
) -> DeliveryPage:
    """What was and is to be sent to the endpoint, newest first, with every try. Kept for 30
    days unless the service's operator set another number."""
    with db.read() as session:
        found = webhook_deliveries.list_page(
            session,
            endpoint=_endpoint(session, caller, endpoint_id),
            status=status,
            cursor=cursor,
            limit=limit,
        )
        attempts = webhook_deliveries.attempts_of(session, found.items)
    link_next(request, response, cursor=found.next_cursor)
    shown = [DeliveryShape.of(row, attempts[row.id]) for row in found.items]
    return DeliveryPage(
        data=shown, next_cursor=found.next_cursor, has_more=found.next_cursor is not None
    )


@router.get("/deliveries/{delivery_id}", response_model=DeliveryShape, responses=problems(403, 404))
def get_delivery(delivery_id: str, caller: CallerDep) -> DeliveryShape:
    """One delivery with every try."""
    with db.read() as session:
        delivery = webhook_deliveries.get(
            session,
            project_id=caller.project_id,
            delivery_id=ids.from_public("dlv", delivery_id),
        )
        attempts = webhook_deliveries.attempts_of(session, [delivery])
    return DeliveryShape.of(delivery, attempts[delivery.id])


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryShape,
    responses=problems(400, 403, 404, 409),
    openapi_extra=acts(),
)
def redeliver(request: Request, delivery_id: str, caller: CallerDep) -> JSONResponse:
    """Queues the message once more, under the same `webhook-id` and with all of its tries."""
    wanted = ids.from_public("dlv", delivery_id)

    def act(session: Session) -> Replay:
        delivery = webhook_deliveries.redeliver(
            session, project_id=caller.project_id, delivery_id=wanted
        )
        attempts = webhook_deliveries.attempts_of(session, [delivery])
        shown = DeliveryShape.of(delivery, attempts[delivery.id])
        return answer_of(shown, status_code=202, headers=_location(shown))

    return once(request, caller, None, act)


def _endpoint(
    session: Session, caller: CallerDep, endpoint_id: str, *, lock: bool = False
) -> WebhookEndpoint:
    return webhooks.get(
        session,
        project_id=caller.project_id,
        endpoint_id=ids.from_public("we", endpoint_id),
        lock=lock,
    )


def _etag(endpoint: WebhookEndpoint) -> str:
    return f'"{endpoint.version}"'


def _location(delivery: DeliveryShape) -> dict[str, str]:
    return {"Location": f"/v1/deliveries/{delivery.id}"}
