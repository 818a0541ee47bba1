"""One try to deliver a webhook: resolved once, checked, sent to the very address that was checked.

The receiver is hostile until proven otherwise: its name may stand for an inner address, change between
two look-ups, lead elsewhere by a redirect, answer never or without an end. What it says besides its
status code and `Retry-After` is neither kept nor shown.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from socket import gaierror

import httpx

from domain import webhook_urls
from domain.db import utc_now
from domain.webhook_deliveries import Claimed, Outcome
from domain.webhook_secrets import SecretUnreadable
from worker.webhook_lookups import Address, Resolve

log = logging.getLogger(__name__)

CONNECT_S = 5.0
TOTAL_S = 10.0
MAX_ANSWER_BYTES = 64 * 1024
USER_AGENT = "vader-webhooks/1"


class Refused(Exception):
    """The delivery was not sent: the URL leads where webhooks may not go. The message says why."""


_EXPECTED = (Refused, SecretUnreadable, OSError, httpx.HTTPError)


async def deliver(claimed: Claimed, *, allow_private: bool, resolve: Resolve) -> Outcome:
    """Sends the delivery once. Every way in which that may go wrong is an `Outcome`.

    `allow_private` is for development: any address will do.
    """
    at, began = utc_now(), time.monotonic()
    answer: list[httpx.Response] = []
    error: str | None = None
    try:
        async with asyncio.timeout(TOTAL_S):
            await _send(claimed, at, answer, allow_private=allow_private, resolve=resolve)
    except TimeoutError:
        error = f"no answer within {TOTAL_S:g} s"
    except _EXPECTED as failure:
        error = _told(failure)
    except Exception:
        # Whatever it is, the try has to be counted: one that is not is repeated for ever.
        log.exception("delivery %s failed unexpectedly", claimed.delivery_id)
        error = "cannot be sent"
    duration_s = time.monotonic() - began
    if not answer:
        return Outcome(at, duration_s, status_code=None, error=error or "no answer")
    # What comes after the status line decides nothing.
    [response] = answer
    return Outcome(
        at,
        duration_s,
        status_code=response.status_code,
        error=_refusal(response.status_code),
        retry_after_s=_retry_after_s(response.headers.get("retry-after", "")),
    )


async def _send(
    claimed: Claimed,
    at: datetime,
    answer: list[httpx.Response],
    *,
    allow_private: bool,
    resolve: Resolve,
) -> None:
    # Judged anew at every try: the rules, the name or what it stands for may have changed.
    fault = webhook_urls.fault(claimed.url, allow_private=allow_private)
    if fault is not None:
        raise Refused(fault)
    url = httpx.URL(claimed.url)
    address = await _checked_address(url, allow_private=allow_private, resolve=resolve)
    request = httpx.Request(
        "POST",
        url.copy_with(host=str(address)),
        content=claimed.payload.encode(),
        headers={
            "Host": url.netloc.decode(),
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept-Encoding": "identity",
            **claimed.signed(at),
        },
        # The certificate must be that of the name, whatever address is connected to.
        extensions={"sni_hostname": url.raw_host.decode(), "timeout": _TIMEOUTS.as_dict()},
    )
    async with httpx.AsyncHTTPTransport(verify=_tls(), retries=0, trust_env=False) as transport:
        response = await transport.handle_async_request(request)
        answer.append(response)
        await _read_a_little(response)


_TIMEOUTS = httpx.Timeout(TOTAL_S, connect=CONNECT_S)


async def _checked_address(url: httpx.URL, *, allow_private: bool, resolve: Resolve) -> Address:
    """The address to connect to. One bad address among several spoils all of them."""
    port = url.port or (webhook_urls.HTTPS_PORT if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_S):
            # As it is written: `url.host` is decoded, and might be encoded to another name.
            addresses = await resolve(url.raw_host.decode(), port)
    except TimeoutError:
        raise Refused("the host's name could not be resolved in time") from None
    if not addresses:
        raise Refused("the host's name stands for no address")
    if not allow_private and not all(webhook_urls.is_public(address) for address in addresses):
        raise Refused("the host's name stands for an address that is not public")
    return addresses[0]


async def _read_a_little(response: httpx.Response) -> None:
    """Takes in a usual answer, so that the receiver is not cut off in the middle of it."""
    read = 0
    try:
        async for chunk in response.aiter_raw():
            read += len(chunk)
            if read > MAX_ANSWER_BYTES:
                break
    finally:
        await response.aclose()


def _refusal(status_code: int) -> str | None:
    """Why an answer with this status does not count as taken; None when it does."""
    if HTTPStatus.OK <= status_code < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status_code < HTTPStatus.BAD_REQUEST:
        return f"answered {status_code}: redirects are not followed"
    return f"answered {status_code}"


def _told(failure: Exception) -> str:
    """For the project's eyes: kind and no detail, which could tell of the service's own network."""
    if isinstance(failure, Refused):
        return f"not sent: {failure}"
    if isinstance(failure, SecretUnreadable):
        return "not sent: the secret cannot be read any more; rotate it"
    if isinstance(failure, gaierror):
        return "not sent: the host's name cannot be resolved"
    if isinstance(failure, httpx.TimeoutException):
        return "timed out"
    if isinstance(failure, httpx.ConnectError | OSError):
        return "cannot connect"
    return "the connection broke, or the answer was no HTTP"


def _retry_after_s(value: str) -> float | None:
    """The header's seconds or date; None for anything else."""
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - utc_now()).total_seconds())


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
