"""Passwords: hashed by Argon2id, checked at a cost that does not tell whether there is one."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 12, 256
_hasher = PasswordHasher()


def hashed(password: str) -> str:
    """The text to store: Argon2id with its parameters and salt."""
    return _hasher.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Whether `password` is the one that was hashed; without one it costs the same and is False."""
    try:
        return _hasher.verify(stored or _nobodys(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    """A hash that stands for whoever has none."""
    return _hasher.hash("nobody has this password")
