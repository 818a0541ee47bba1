from __future__ import annotations

import zlib
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from domain import api_keys, callers, db
from domain.callers import Caller
from domain.errors import ExpiredApiKey, InvalidApiKey, MissingScope, NotFound
from domain.tables import ApiKey
from tests import factories, lives

pytestmark = pytest.mark.usefixtures("settings")


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session).id


@pytest.fixture
def token(project_id: UUID) -> str:
    with db.transaction() as session:
        return factories.key(session, project_id)


def verified(token: str) -> Caller:
    with db.transaction() as session:
        return api_keys.verify(session, token)


def test_a_key_stands_for_its_project_and_scopes(project_id: UUID, token: str) -> None:
    caller = verified(token)
    assert (caller.project_id, caller.name) == (project_id, "test")
    assert tuple(caller.scopes) == api_keys.ALL_SCOPES
    callers.require(caller, "jobs:write")
    with pytest.raises(MissingScope) as refused:
        callers.require(caller, "admin")
    assert refused.value.extra == {"scope": "admin"}


def test_the_text_of_a_key_can_be_recognised_by_a_scanner(token: str) -> None:
    body, _, checksum = token.rpartition("_")
    assert body.startswith("vdr_live_")
    assert len(body.split("_")[2]) == 8
    assert checksum == f"{zlib.crc32(body.encode()):08x}"


def test_the_secret_is_not_stored(token: str) -> None:
    secret = token.split("_")[3]
    with db.read() as session:
        row = session.scalars(select(ApiKey)).one()
    assert secret.encode() not in row.secret_hash
    assert secret not in repr(vars(row))


def with_checksum(body: str) -> str:
    return f"{body}_{zlib.crc32(body.encode()):08x}"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: "",
        lambda token: "Bearer",
        lambda token: token[:-1],
        lambda token: token + "0",
        lambda token: token.upper(),
        lambda token: with_checksum("vdr_live_" + "x" * 8 + "_" + token.split("_")[3]),
        lambda token: with_checksum("_".join(token.split("_")[:3]) + "_" + "x" * 32),
        lambda token: with_checksum("vdr_live_"),
        lambda token: "vdr_live_é_\udcff_" + token,
    ],
)
def test_anything_else_is_no_key(change: object, token: str) -> None:
    assert callable(change)
    with pytest.raises(InvalidApiKey):
        verified(change(token))


def test_a_revoked_key_is_refused_at_once(project_id: UUID, token: str) -> None:
    caller = verified(token)
    with db.transaction() as session:
        api_keys.revoke(session, project_id=project_id, key_id=caller.key_id)
        assert not api_keys.is_active(session, caller.key_id)
    with pytest.raises(InvalidApiKey):
        verified(token)


def test_another_projects_key_cannot_be_revoked(token: str) -> None:
    caller = verified(token)
    with pytest.raises(NotFound), db.transaction() as session:
        api_keys.revoke(session, project_id=uuid4(), key_id=caller.key_id)
    assert verified(token) is not None


def test_an_expired_key_is_told_apart(project_id: UUID) -> None:
    with db.transaction() as session:
        past = db.utc_now() - timedelta(seconds=1)
        old = factories.key(session, project_id, expires_at=past)
        soon = db.utc_now() + timedelta(hours=1)
        good = factories.key(session, project_id, expires_at=soon)
    with pytest.raises(ExpiredApiKey):
        verified(old)
    with db.read() as session:
        assert api_keys.is_active(session, verified(good).key_id)


def test_a_use_is_noted_at_most_once_a_minute(token: str) -> None:
    def used_at() -> object:
        with db.read() as session:
            return session.scalars(select(ApiKey.last_used_at)).one()

    assert used_at() is None
    verified(token)
    first = used_at()
    assert first is not None
    verified(token)
    assert used_at() == first


def test_another_secret_key_makes_every_key_invalid(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        lives.changed_settings(monkeypatch, secret_key="another secret of the service"),
        pytest.raises(InvalidApiKey),
    ):
        verified(token)


def test_names_are_found_for_ids(token: str) -> None:
    caller = verified(token)
    with db.read() as session:
        assert api_keys.names(session, [caller.key_id, uuid4()]) == {caller.key_id: "test"}
