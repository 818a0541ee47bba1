"""Keys, sizes and hashes of stored objects: what every object store has in common.

Keys are made by the service alone: "/"-separated parts of letters, digits, ".", "_" and "-".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import BinaryIO

from domain.errors import ArtifactExpired, ChecksumMismatch

CHUNK_BYTES = 1 << 20
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_KEY_MAX = 900


@dataclass(frozen=True)
class Stat:
    """An object's size and the sha256 with which it was stored."""

    size_bytes: int
    sha256: str


def checked_key(key: str) -> str:
    """`key` itself. Raises `ValueError` for one that could lead out of the store."""
    if len(key) > _KEY_MAX or not _KEY.fullmatch(key) or ".." in key:
        raise ValueError(f"not an object key: {key!r}")
    return key


def sha256_of(stream: BinaryIO, *, copy_to: BinaryIO | None = None) -> str:
    """The sha256 of what is left of `stream`, which is copied on the way."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK_BYTES):
        digest.update(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    return digest.hexdigest()


def demand_sha256(found: str, wanted: str | None, *, key: str) -> None:
    """Raises `ChecksumMismatch` unless nothing particular was wanted or it was found."""
    if wanted is not None and found != wanted:
        raise ChecksumMismatch(f"{key}: the bytes have sha256 {found}, not {wanted}.")


def missing(key: str) -> ArtifactExpired:
    """What to raise for an object that is not there."""
    return ArtifactExpired(f"There is no object {key!r} any more.")
