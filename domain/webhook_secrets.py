"""Secrets of webhook endpoints: made, sealed for the table, and used to sign (Standard Webhooks 1.0.0).

They are stored under AES-256-GCM with a key derived from the service's secret key and bound to their
endpoint: neither a copy of the table nor a swapped row is of use.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from domain.settings import get_settings

START = "whsec_"
_BYTES = 32
_NONCE_BYTES = 12


class SecretUnreadable(Exception):
    """A sealed secret was sealed under another secret key, or for another endpoint."""


def new_secret() -> bytes:
    """A fresh secret."""
    return secrets.token_bytes(_BYTES)


def shown(secret: bytes) -> str:
    """The secret as receivers configure it: "whsec_" and base64."""
    return START + base64.b64encode(secret).decode()


def seal(secret: bytes, *, endpoint_id: UUID) -> bytes:
    """The secret as it is stored."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher().encrypt(nonce, secret, endpoint_id.bytes)


def unseal(sealed: bytes, *, endpoint_id: UUID) -> bytes:
    """The secret that `seal` was given. Raises `SecretUnreadable`."""
    nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return _cipher().decrypt(nonce, encrypted, endpoint_id.bytes)
    except InvalidTag as error:
        raise SecretUnreadable(str(endpoint_id)) from error


def headers(
    signed_by: Iterable[bytes], *, message_id: str, at: datetime, payload: str
) -> dict[str, str]:
    """The three headers of a delivery, with one signature for every secret."""
    timestamp = str(int(at.timestamp()))
    content = f"{message_id}.{timestamp}.{payload}".encode()
    signatures = [
        "v1," + base64.b64encode(hmac.digest(secret, content, "sha256")).decode()
        for secret in signed_by
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }


def _cipher() -> AESGCM:
    secret_key = get_settings().secret_key.get_secret_value().encode()
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"webhook-secrets")
    return AESGCM(derived.derive(secret_key))
