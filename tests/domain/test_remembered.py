"""Remembered callers: for two seconds, by a hash, and not after an end in this process."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from domain import api_keys, db, remembered, verified
from domain.callers import Caller
from domain.errors import InvalidApiKey
from domain.ids import new_id
from domain.remembered import KEPT_S, Remembered
from tests import factories


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def caller(**changes: object) -> Caller:
    fields: dict[str, object] = {
        "project_id": new_id(),
        "name": "ci",
        "scopes": [],
        "key_id": new_id(),
        "member_id": None,
        "expires_at": None,
        "last_used_at": None,
    }
    return Caller(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_caller_is_remembered_for_two_seconds() -> None:
    clock = Clock()
    known = Remembered(clock=clock)
    known.put("token", caller())
    clock.now += KEPT_S - 0.1
    assert known.get("token") is not None
    assert known.get("other token") is None
    clock.now += 0.2
    assert known.get("token") is None


def test_a_key_that_expires_meanwhile_is_not_remembered() -> None:
    known = Remembered()
    known.put("soon", caller(expires_at=db.utc_now() + timedelta(hours=1)))
    known.put("over", caller(expires_at=db.utc_now()))
    assert known.get("soon") is not None
    assert known.get("over") is None


def test_what_is_remembered_is_bounded_and_holds_no_credential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remembered, "MOST", 3)
    known = Remembered()
    for number in range(5):
        known.put(f"token-{number}", caller())
    assert [known.get(f"token-{number}") is not None for number in range(5)] == [
        *(False, False),
        *(True, True, True),
    ]
    assert "token-4" not in repr(vars(known))


@pytest.mark.parametrize("name", ["key_id", "session_id", "member_id"])
def test_whoever_is_ended_is_forgotten_and_no_other(name: str) -> None:
    known = Remembered()
    ended = new_id()
    known.put("theirs", caller(**{name: ended}))
    known.put("mine", caller())
    known.forget(ended)
    assert known.get("theirs") is None
    assert known.get("mine") is not None


@pytest.mark.usefixtures("settings")
def test_a_revoked_key_is_forgotten_with_the_commit() -> None:
    with db.transaction() as session:
        project_id: UUID = factories.project(session).id
        token = factories.key(session, project_id)
    found = verified.verify(token)
    assert remembered.remembered.get(token) == found
    assert found.key_id is not None
    with db.transaction() as session:
        assert verified.still_valid(session, found)
        api_keys.revoke(session, project_id=project_id, key_id=found.key_id)
        assert not verified.still_valid(session, found)
    assert remembered.remembered.get(token) is None
    with pytest.raises(InvalidApiKey):
        verified.verify(token)


def test_what_was_good_before_is_known_until_it_fails() -> None:
    clock = Clock()
    known = Remembered(clock=clock)
    assert not known.knows("token")
    known.put("token", caller())
    clock.now += 100 * KEPT_S
    assert known.get("token") is None
    assert known.knows("token")
    known.drop("token")
    known.drop("token")
    assert not known.knows("token")
