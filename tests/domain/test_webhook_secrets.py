from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain import webhook_secrets
from domain.settings import get_settings
from domain.webhook_secrets import SecretUnreadable

pytestmark = pytest.mark.usefixtures("settings")


def test_a_sealed_secret_can_be_read_for_its_endpoint_alone() -> None:
    endpoint_id, secret = uuid4(), webhook_secrets.new_secret()
    sealed = webhook_secrets.seal(secret, endpoint_id=endpoint_id)
    assert secret not in sealed
    assert sealed != webhook_secrets.seal(secret, endpoint_id=endpoint_id)
    assert webhook_secrets.unseal(sealed, endpoint_id=endpoint_id) == secret
    with pytest.raises(SecretUnreadable):
        webhook_secrets.unseal(sealed, endpoint_id=uuid4())


def test_a_secret_of_another_secret_key_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint_id = uuid4()
    sealed = webhook_secrets.seal(b"s" * 32, endpoint_id=endpoint_id)
    monkeypatch.setenv("VADER_SECRET_KEY", "another-secret-of-the-tests-0123456789")
    get_settings.cache_clear()
    with pytest.raises(SecretUnreadable):
        webhook_secrets.unseal(sealed, endpoint_id=endpoint_id)


def test_any_receiver_of_standard_webhooks_can_verify_a_message() -> None:
    old, new = webhook_secrets.new_secret(), webhook_secrets.new_secret()
    payload = '{"type":"job.succeeded","data":{"name":"größe"}}'
    sent = webhook_secrets.headers(
        [new, old], message_id="evt_1", at=datetime.now(UTC), payload=payload
    )
    for secret in (old, new):
        shown = webhook_secrets.shown(secret)
        assert shown.startswith("whsec_")
        assert len(base64.b64decode(shown.removeprefix("whsec_"))) == 32
        assert Webhook(shown).verify(payload, sent)["type"] == "job.succeeded"
    stranger = Webhook(webhook_secrets.shown(webhook_secrets.new_secret()))
    with pytest.raises(WebhookVerificationError):
        stranger.verify(payload, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secrets.shown(new)).verify(payload.replace("job", "jab"), sent)


def test_an_old_message_cannot_be_replayed() -> None:
    secret = webhook_secrets.new_secret()
    long_ago = datetime.now(UTC) - timedelta(minutes=6)
    sent = webhook_secrets.headers([secret], message_id="evt_1", at=long_ago, payload="{}")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secrets.shown(secret)).verify("{}", sent)
