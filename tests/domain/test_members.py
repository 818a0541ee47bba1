"""Members and their sessions: invited, joined, signed in, changed, removed."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal
from uuid import UUID

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from domain import api_keys, db, members, passwords, sessions
from domain.access_tables import Member, MemberSession
from domain.callers import Caller
from domain.errors import (
    Conflict,
    InvalidApiKey,
    InvalidCredentials,
    InvitationUnusable,
    NotFound,
    NotSignedIn,
)
from domain.ids import to_public
from tests import factories

pytestmark = pytest.mark.usefixtures("settings", "cheap_passwords")
PASSWORD = "a long and private phrase"


@pytest.fixture
def project_id() -> UUID:
    with db.transaction() as session:
        return factories.project(session, "ads").id


def invited(project_id: UUID, email: str = "Ada@example.com", role: members.Role = "editor") -> str:
    with db.transaction() as session:
        _, token = members.invite(
            session, project_id=project_id, email=email, name="Ada", role=role
        )
    return token


def joined(project_id: UUID, **options: str) -> UUID:
    token = invited(project_id, **options)  # type: ignore[arg-type]
    with db.transaction() as session:
        return members.accept(session, token=token, password=PASSWORD).id


def signed_in(email: str = "ada@example.com", project: str | None = None) -> str:
    with db.transaction() as session:
        _, _, token = sessions.sign_in(
            session,
            email=email,
            password=PASSWORD,
            project=project,
            address="192.0.2.1",
            user_agent="a browser",
        )
    return token


def verified(token: str) -> Caller:
    with db.transaction() as session:
        return sessions.verify(session, token)


def test_who_was_invited_joins_once_with_a_password(project_id: UUID) -> None:
    token = invited(project_id)
    with pytest.raises(InvalidCredentials):
        signed_in()
    with db.transaction() as session:
        member = members.accept(session, token=token, password=PASSWORD)
    assert member.email == "ada@example.com"
    with pytest.raises(InvitationUnusable), db.transaction() as session:
        members.accept(session, token=token, password="another long phrase")
    caller = verified(signed_in("ADA@example.com"))
    assert (caller.member_id, caller.key_id, caller.name) == (member.id, None, "Ada")
    assert tuple(caller.scopes) == members.SCOPES["editor"]


def test_neither_tokens_nor_passwords_are_stored(project_id: UUID) -> None:
    token = invited(project_id)
    with db.transaction() as session:
        members.accept(session, token=token, password=PASSWORD)
    cookie = signed_in()
    with db.read() as session:
        rows = [session.scalars(select(table)).one() for table in (Member, MemberSession)]
        stored = repr([vars(row) for row in rows])
    assert not [secret for secret in (token, PASSWORD, cookie) if secret in stored]
    assert "$argon2id$" in stored


def test_an_expired_invitation_is_of_no_use_until_there_is_a_new_one(project_id: UUID) -> None:
    token = invited(project_id)
    with db.transaction() as session:
        member = session.scalars(select(Member)).one()
        member.invitation_expires_at = db.utc_now() - timedelta(seconds=1)
    with pytest.raises(InvitationUnusable), db.transaction() as session:
        members.accept(session, token=token, password=PASSWORD)
    with db.transaction() as session:
        _, fresh = members.invite_again(session, project_id=project_id, member_id=member.id)
        members.accept(session, token=fresh, password=PASSWORD)
    assert verified(signed_in()).member_id == member.id


def test_a_new_password_ends_the_sessions_under_the_old_one(project_id: UUID) -> None:
    member_id = joined(project_id)
    cookie = signed_in()
    with db.transaction() as session:
        _, token = members.invite_again(session, project_id=project_id, member_id=member_id)
    assert verified(cookie).member_id == member_id
    with db.transaction() as session:
        members.accept(session, token=token, password="quite another phrase")
    with pytest.raises(NotSignedIn):
        verified(cookie)


def test_an_email_is_a_member_once_a_project_and_may_come_back(project_id: UUID) -> None:
    member_id = joined(project_id)
    with pytest.raises(Conflict):
        invited(project_id, "ADA@EXAMPLE.COM")
    with db.transaction() as session:
        members.remove(session, project_id=project_id, member_id=member_id)
        with pytest.raises(NotFound):
            members.get(session, project_id=project_id, member_id=member_id)
    invited(project_id)
    with db.read() as session:
        assert members.names(session, [member_id]) == {member_id: "Ada"}


def test_a_removed_member_is_out_at_once(project_id: UUID) -> None:
    member_id = joined(project_id)
    cookie = signed_in()
    with db.transaction() as session:
        members.remove(session, project_id=project_id, member_id=member_id)
    with pytest.raises(NotSignedIn):
        verified(cookie)
    with pytest.raises(InvalidCredentials):
        signed_in()


def test_another_role_holds_for_open_sessions(project_id: UUID) -> None:
    member_id = joined(project_id, role="viewer")
    cookie = signed_in()
    with db.transaction() as session:
        changed = members.change(
            session, project_id=project_id, member_id=member_id, name=None, role="admin"
        )
        assert changed.name == "Ada"
    assert "keys:write" in verified(cookie).scopes


@pytest.mark.parametrize(
    ("email", "password", "project"),
    [
        ("ada@example.com", "not the password", None),
        ("nobody@example.com", PASSWORD, None),
        ("ada@example.com", PASSWORD, "rivals"),
        ("", "", None),
    ],
)
def test_what_is_wrong_with_a_sign_in_is_not_told(
    project_id: UUID, email: str, password: str, project: str | None
) -> None:
    joined(project_id)
    with pytest.raises(InvalidCredentials) as refused, db.transaction() as session:
        sessions.sign_in(
            session,
            email=email,
            password=password,
            project=project,
            address=None,
            user_agent=None,
        )
    assert refused.value.detail.startswith("If you are a member of several")


def test_every_sign_in_costs_one_check_of_a_password(
    project_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined(project_id)
    checked: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            checked.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Counting(time_cost=1, memory_cost=8, parallelism=1))
    for email in ("ada@example.com", "nobody@example.com"):
        with pytest.raises(InvalidCredentials), db.transaction() as session:
            sessions.sign_in(
                session,
                email=email,
                password="wrong, and long",
                project=None,
                address=None,
                user_agent=None,
            )
    assert len(checked) == 2
    assert all(stored.startswith("$argon2id$") for stored in checked)


def test_a_member_of_several_projects_names_one(project_id: UUID) -> None:
    with db.transaction() as session:
        other = factories.project(session, "rivals").id
    here, there = joined(project_id), joined(other)
    with pytest.raises(InvalidCredentials):
        signed_in()
    assert verified(signed_in(project="ads")).member_id == here
    assert verified(signed_in(project=to_public("prj", other))).member_id == there


def test_a_session_ends_when_it_expires_or_is_ended(project_id: UUID) -> None:
    member_id = joined(project_id)
    first, second = signed_in(), signed_in()
    caller = verified(first)
    assert caller.session_id is not None
    with db.transaction() as session:
        own = {"project_id": project_id, "member_id": member_id}
        assert len(sessions.list_sessions(session, **own, cursor=None, limit=10).items) == 2
        sessions.end(session, **own, session_id=caller.session_id)
        assert len(sessions.list_sessions(session, **own, cursor=None, limit=10).items) == 1
        assert not sessions.is_active(session, caller.session_id)
    with pytest.raises(NotSignedIn):
        verified(first)
    assert verified(second).expires_at is not None
    with db.transaction() as session:
        session.execute(update(MemberSession).values(expires_at=db.utc_now()))
    with pytest.raises(NotSignedIn):
        verified(second)


def test_nobody_ends_a_session_of_somebody_else(project_id: UUID) -> None:
    joined(project_id)
    eve = joined(project_id, email="eve@example.com")
    caller = verified(signed_in())
    assert caller.session_id is not None
    for wrong in ({"member_id": eve}, {"project_id": eve}):
        where = {"project_id": project_id, "member_id": None, **wrong}
        with pytest.raises(NotFound), db.transaction() as session:
            sessions.end(session, **where, session_id=caller.session_id)  # type: ignore[arg-type]


def test_a_password_finds_the_one_project_that_it_is_of(project_id: UUID) -> None:
    """Somebody else's invitation, accepted under another password, keeps nobody out of his own project."""
    with db.transaction() as session:
        other = factories.project(session, "rivals").id
    here = joined(project_id)
    token = invited(other)
    with db.transaction() as session:
        there = members.accept(session, token=token, password="a phrase of the rivals").id
    assert verified(signed_in()).member_id == here
    with db.transaction() as session:
        _, member, _ = sessions.sign_in(
            session,
            email="ada@example.com",
            password="a phrase of the rivals",
            project=None,
            address=None,
            user_agent=None,
        )
    assert member.id == there


@pytest.mark.parametrize(
    "token", ["", "vdr_session_", "vdr_session_" + "x" * 42, "vdr_session_" + "x" * 43 + "\n"]
)
def test_what_is_no_token_needs_no_look_up(token: str) -> None:
    with pytest.raises(NotSignedIn):
        sessions.require_form(token)


def test_what_a_member_made_goes_with_him(project_id: UUID) -> None:
    member_id = joined(project_id, role="admin")
    ada = verified(signed_in())
    with db.transaction() as session:
        own = {"project_id": project_id, "name": "ci"}
        theirs, _ = api_keys.create(session, **own)  # type: ignore[arg-type]
        first, text = api_keys.create(session, **own, by=ada)  # type: ignore[arg-type]
        session.flush()
        by_key = api_keys.verify(session, text)
        second, _ = api_keys.create(session, **own, by=by_key)  # type: ignore[arg-type]
    with db.transaction() as session:
        revoked = members.remove(session, project_id=project_id, member_id=member_id)
        assert set(revoked) == {first.id, second.id}
        assert api_keys.is_active(session, theirs.id)
        assert not api_keys.is_active(session, second.id)
    with pytest.raises(InvalidApiKey), db.transaction() as session:
        api_keys.verify(session, text)
