"""Random tokens, and the keyed digests under which they are stored."""

from __future__ import annotations

import hmac
import secrets
import string

from domain.settings import get_settings

_ALPHABET = string.ascii_letters + string.digits


def random_text(length: int) -> str:
    """Letters and digits, about 5.95 random bits each."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def digest(purpose: str, secret: str) -> bytes:
    """HMAC-SHA256 of `secret` under the pepper for `purpose`.

    A fast hash is enough for secrets that are random; passwords need `domain.passwords`. The pepper is
    derived, so that one secret key can serve every purpose.
    """
    key = get_settings().secret_key.get_secret_value().encode()
    pepper = hmac.digest(key, purpose.encode(), "sha256")
    return hmac.digest(pepper, secret.encode(errors="replace"), "sha256")
