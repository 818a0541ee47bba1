"""Tokens that open live streams from a browser, whose `EventSource` cannot send an API key.

A token is signed, not stored. It can do no more than whoever asked for it, opens streams for five
minutes, and is worth nothing once its maker's key or session has ended.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from domain.callers import Caller
from domain.db import utc_now
from domain.errors import InvalidStreamToken
from domain.settings import get_settings

START = "vdr_stream_"
TTL = timedelta(minutes=5)
_NOT_VALID = "Ask for a fresh one: POST /v1/stream-tokens."


@dataclass(frozen=True)
class StreamToken:
    """A token as it is handed out."""

    text: str
    expires_at: datetime


@dataclass(frozen=True)
class Grant:
    """What a token stands for. `job_id` None: all streams of the project."""

    caller: Caller
    job_id: UUID | None


def issue(caller: Caller, *, job_id: UUID | None) -> StreamToken:
    """A token for the streams of one job, or of the caller's whole project."""
    # Whole seconds, so that it never ends before it says so.
    expires_at = utc_now().replace(microsecond=0) + TTL
    ids = {
        "project": caller.project_id,
        "key": caller.key_id,
        "member": caller.member_id,
        "session": caller.session_id,
        "job": job_id,
    }
    claims = {name: None if value is None else value.hex for name, value in ids.items()}
    body = json.dumps({**claims, "scopes": caller.scopes, "ends": int(expires_at.timestamp())})
    packed = _text(body.encode())
    return StreamToken(f"{START}{packed}.{_text(_signature(packed))}", expires_at)


def verify(text: str) -> Grant:
    """What the token stands for. Raises `InvalidStreamToken` for one that is not ours or has expired."""
    packed, _, signature = text.removeprefix(START).partition(".")
    wanted = _text(_signature(packed))
    if not text.startswith(START) or not hmac.compare_digest(wanted.encode(), _bytes(signature)):
        raise InvalidStreamToken(f"This is no token for streams. {_NOT_VALID}")
    claims: dict[str, Any] = json.loads(_unpacked(packed))
    ends = datetime.fromtimestamp(claims["ends"], UTC)
    if ends <= utc_now():
        raise InvalidStreamToken(f"It was valid until {ends.isoformat()}. {_NOT_VALID}")
    ids = {
        name: None if claims[name] is None else UUID(claims[name])
        for name in ("project", "key", "member", "session", "job")
    }
    project_id = ids["project"]
    assert project_id is not None
    caller = Caller(
        project_id=project_id,
        name="stream token",
        scopes=claims["scopes"],
        key_id=ids["key"],
        member_id=ids["member"],
        session_id=ids["session"],
        expires_at=ends,
        last_used_at=None,
    )
    return Grant(caller, ids["job"])


def _signature(packed: str) -> bytes:
    secret = get_settings().secret_key.get_secret_value().encode()
    return hmac.digest(hmac.digest(secret, b"stream-tokens", "sha256"), _bytes(packed), "sha256")


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
