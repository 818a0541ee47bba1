"""Who makes a request, and whether now: credentials, cookies from our own pages alone, rate limits."""

from __future__ import annotations

from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import Request

from domain import db
from domain.callers import Caller
from domain.errors import CrossSiteRequest, InvalidApiKey
from domain.rate_limits import Policy, RateLimiter, Standing
from domain.remembered import remembered
from domain.sessions import START as SESSION_START
from domain.settings import Settings
from domain.tokens import digest
from domain.verified import verify

COOKIE = "vader_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


async def identify(request: Request, *, bearer: str | None, cookie: str | None) -> Caller:
    """The caller, verified and counted; the request's transactions see that project alone from here on.

    An API key goes before a cookie. Raises `InvalidApiKey`, `NotSignedIn`, `CrossSiteRequest`,
    `RateLimited`.
    """
    credential = _credential(request, bearer, cookie)
    caller = remembered.get(credential)
    if caller is None:
        caller = await to_thread.run_sync(verify, credential)
    db.tenant.set(caller.project_id)
    await count(request, caller)
    return caller


async def count_sign_in(request: Request, *, subject: str) -> None:
    """Counts an attempt to sign in, for the address and for the `subject`: an email, or an invitation.

    Raises `RateLimited`.
    """
    limiter, settings = _limits(request)
    policy = Policy("login", settings.rate_limit_logins)
    if policy.quota:
        standing = await limiter.count_exactly(policy, f"address {address_of(request)}")
        await limiter.count_exactly(policy, f"subject {digest('sign-in', subject.lower()).hex()}")
        request.state.rate_limits = [standing]


def address_of(request: Request) -> str | None:
    """The address that the request came from."""
    return None if request.client is None else request.client.host


def _credential(request: Request, bearer: str | None, cookie: str | None) -> str:
    if bearer is not None and not bearer.startswith(SESSION_START):
        return bearer
    if bearer is not None or cookie is None:
        # A session's token counts in its cookie alone, where scripts cannot read it.
        raise InvalidApiKey("Send `Authorization: Bearer vdr_live_...`, or sign in.")
    if request.method not in _SAFE:
        _require_own_page(request)
    return cookie


def _require_own_page(request: Request) -> None:
    """Browsers say where a request comes from, in headers that scripts cannot set."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        ours = site == "same-origin"
    else:
        ours = origin is not None and urlsplit(origin).netloc in _own_hosts(request)
    if not ours:
        raise CrossSiteRequest("Send it from the service's own pages, or use an API key.")


def _own_hosts(request: Request) -> set[str]:
    settings: Settings = request.app.state.settings
    return {request.headers.get("host", ""), urlsplit(settings.public_url).netloc} - {""}


async def count(request: Request, caller: Caller) -> None:
    """Counts a request of a caller who is known. Raises `RateLimited`."""
    limiter, settings = _limits(request)
    who = str(caller.key_id or caller.session_id)
    standings: list[Standing] = []
    if settings.rate_limit_requests:
        standings.append(limiter.count(Policy("default", settings.rate_limit_requests), who))
    request.state.rate_limits = standings
    if request.method == "POST" and settings.rate_limit_creates:
        policy = Policy("create", settings.rate_limit_creates)
        standings.append(await limiter.count_exactly(policy, who))


def _limits(request: Request) -> tuple[RateLimiter, Settings]:
    return request.app.state.rate_limiter, request.app.state.settings
