"""Links to stored objects: signed, for one object each, and expiring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi.responses import RedirectResponse

from domain.db import utc_now
from domain.settings import Settings
from domain.store import ObjectStore


@dataclass(frozen=True)
class Link:
    """An absolute address that needs no API key until it expires."""

    url: str
    expires_at: datetime


def link_to(store: ObjectStore, settings: Settings, *, key: str, filename: str) -> Link:
    """A link under which `key` is downloaded as `filename`."""
    ttl_s = settings.link_ttl_s
    # Whole seconds and taken before signing, so that the link never ends before it says so.
    expires_at = utc_now().replace(microsecond=0) + timedelta(seconds=ttl_s)
    return Link(store.link(key, filename=filename, ttl_s=ttl_s), expires_at)


def redirect_to(link: Link) -> RedirectResponse:
    """302 to `link`. It must not be cached: the next request gets a fresh one."""
    return RedirectResponse(link.url, status_code=302, headers={"Cache-Control": "no-store"})
