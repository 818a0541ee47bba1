"""Ids: UUIDv7 in the database, `prefix_` + Crockford base32 (TypeID) outside."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import uuid_utils
from typeid import TypeID
from typeid.errors import TypeIDException

from domain.errors import NotFound

Prefix = Literal[
    "prj",
    "key",
    "mem",
    "ses",
    "ps",
    "tpl",
    "job",
    "evt",
    "ck",
    "smp",
    "ad",
    "upl",
    "scr",
    "gen",
    "we",
    "dlv",
    "aud",
]
_NAMES: dict[Prefix, str] = {
    "prj": "project",
    "key": "API key",
    "ps": "prompt set",
    "job": "job",
    "evt": "event",
    "ck": "checkpoint",
    "smp": "sample",
    "ad": "adapter",
    "upl": "upload",
    "scr": "scoring",
    "mem": "member",
    "ses": "session",
    "tpl": "job template",
    "gen": "generation",
    "we": "webhook endpoint",
    "dlv": "delivery",
    "aud": "audit entry",
}


def new_id() -> UUID:
    """A fresh UUIDv7: sorts by the time it was made."""
    return UUID(bytes=TypeID().uuid.bytes)


def to_public(prefix: Prefix, uuid: UUID) -> str:
    """The id as clients see it, for example "job_01kax4b7c8d9e0f1g2h3j4k5m6"."""
    return str(TypeID.from_uuid(uuid_utils.UUID(int=uuid.int), prefix))


def from_public(prefix: Prefix, text: str) -> UUID:
    """The UUID that `text` stands for. Raises `NotFound` for anything that is no id of this kind."""
    try:
        parsed = TypeID.from_string(text)
    except TypeIDException:
        raise NotFound(_unknown(prefix, text)) from None
    if parsed.prefix != prefix:
        raise NotFound(_unknown(prefix, text))
    return UUID(bytes=parsed.uuid.bytes)


def name_of(prefix: Prefix) -> str:
    """What a thing with such an id is called."""
    return _NAMES[prefix]


def _unknown(prefix: Prefix, text: str) -> str:
    return f"There is no {_NAMES[prefix]} {text[:100]!r} in this project."
