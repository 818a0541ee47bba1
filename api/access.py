"""Who makes a request, and whether now: credentials, cookies from our own pages alone, rate limits."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import Request

from domain import db
from domain.callers import Caller
from domain.errors import CrossSiteRequest, InvalidApiKey, NotSignedIn
from domain.rate_limits import Policy, RateLimiter, Standing
from domain.remembered import remembered
from domain.sessions import START as SESSION_START
from domain.settings import Settings
from domain.tokens import digest
from domain.verified import require_form, verify

COOKIE = "vader_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_secure(settings: Settings) -> bool:
    """Whether browsers reach the service by https alone."""
    return settings.environment == "production"


def cookie_name(settings: Settings) -> str:
    """Of the session's cookie. By https it has the prefix with which no other host can set it."""
    return f"__Host-{COOKIE}" if is_secure(settings) else COOKIE


def cookie_of(request: Request) -> str | None:
    """What the session's cookie holds."""
    return request.cookies.get(cookie_name(request.app.state.settings))


async def identify(request: Request, *, bearer: str | None, cookie: str | None) -> Caller:
    """The caller, verified and counted; the request's transactions see that project alone from here on.

    An API key goes before a cookie. Raises `InvalidApiKey`, `NotSignedIn`, `CrossSiteRequest`,
    `RateLimited`.
    """
    credential = _credential(request, bearer, cookie)
    caller = remembered.get(credential)
    if caller is None:
        caller = await _looked_up(request, credential)
    db.tenant.set(caller.project_id)
    await count(request, caller)
    return caller


async def _looked_up(request: Request, credential: str) -> Caller:
    """The caller, from the database. An address that fails too often is refused without a look, but for
    credentials that were good before: whoever shares the address with a broken client goes on."""
    require_form(credential)
    limiter, settings = _limits(request)
    policy, who = Policy("failures", settings.rate_limit_failures), _counted_address(request)
    if policy.quota and not remembered.knows(credential):
        limiter.refuse_over(policy, who)
    try:
        return await to_thread.run_sync(verify, credential)
    except (InvalidApiKey, NotSignedIn):
        remembered.drop(credential)
        if policy.quota:
            limiter.count(policy, who)
        raise


async def count_open(request: Request) -> None:
    """Counts a request that needs no credential, for its address. Raises `RateLimited`."""
    limiter, settings = _limits(request)
    policy = Policy("login-address", settings.rate_limit_logins_address)
    if policy.quota:
        standing = await limiter.count_exactly(policy, _counted_address(request))
        request.state.rate_limits = [standing]


async def count_sign_in(request: Request, *, email: str) -> None:
    """Counts an attempt to sign in as `email`: few from one address, and more from all together, so that
    nobody can lock somebody out from afar. Raises `RateLimited`."""
    limiter, settings = _limits(request)
    subject = digest("sign-in", email).hex()
    for name, quota, who in (
        ("login", settings.rate_limit_logins, f"{subject} {_counted_address(request)}"),
        ("login-email", settings.rate_limit_logins_email, subject),
    ):
        if quota:
            await limiter.count_exactly(Policy(name, quota), who)


def address_of(request: Request) -> str | None:
    """The address that the request came from."""
    return None if request.client is None else request.client.host


def _counted_address(request: Request) -> str:
    """What requests are counted by: the address, of IPv6 the network of 64 bits that one client owns."""
    host = address_of(request) or ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        # A socket's path, or no address at all.
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))


def _credential(request: Request, bearer: str | None, cookie: str | None) -> str:
    if bearer is not None and not bearer.startswith(SESSION_START):
        return bearer
    if bearer is not None or cookie is None:
        # A session's token counts in its cookie alone, where scripts cannot read it.
        raise InvalidApiKey("Send `Authorization: Bearer vdr_live_...`, or sign in.")
    if not cookie.startswith(SESSION_START):
        # An API key here may be one that another site has planted.
        raise NotSignedIn("The cookie holds no session. POST /v1/sessions with email and password.")
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
    if settings.rate_limit_project:
        project = Policy("project", settings.rate_limit_project)
        standings.append(limiter.count(project, str(caller.project_id)))
    request.state.rate_limits = standings
    if request.method == "POST" and settings.rate_limit_creates:
        policy = Policy("create", settings.rate_limit_creates)
        standings.append(await limiter.count_exactly(policy, who))
    if request.method == "POST" and settings.rate_limit_project_creates:
        policy = Policy("project-create", settings.rate_limit_project_creates)
        standings.append(await limiter.count_exactly(policy, str(caller.project_id)))


def _limits(request: Request) -> tuple[RateLimiter, Settings]:
    return request.app.state.rate_limiter, request.app.state.settings
