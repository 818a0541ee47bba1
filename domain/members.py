"""Members: people who may sign in to one project, invited by a token that is shown once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from domain import api_keys, passwords
from domain.access_tables import Member, MemberSession
from domain.db import utc_now
from domain.errors import Conflict, InvitationUnusable, NotFound
from domain.ids import new_id, to_public
from domain.pages import Page, page
from domain.remembered import forget_after_commit
from domain.settings import get_settings
from domain.tokens import digest, random_text

Role = Literal["viewer", "editor", "admin"]
_VIEWER = ("jobs:read", "artifacts:read", "usage:read")
_EDITOR = (
    *("jobs:write", "prompt_sets:write", "templates:write", "uploads:write"),
    *("adapters:write", "generations:write", "webhooks:write"),
)
SCOPES: dict[str, tuple[str, ...]] = {
    "viewer": _VIEWER,
    "editor": (*_VIEWER, *_EDITOR),
    "admin": api_keys.ALL_SCOPES,
}
"""What members may do, by their role."""
_START = "vdr_invite_"
_PURPOSE = "invitations"


def invite(
    session: Session, *, project_id: UUID, email: str, name: str, role: Role
) -> tuple[Member, str]:
    """A new member and the token of the invitation, which is shown this once.

    Raises `Conflict` when somebody with this email is a member of the project already.
    """
    email = email.lower()
    member = Member(id=new_id(), project_id=project_id, email=email, name=name, role=role)
    token = _invited(member)
    try:
        with session.begin_nested():
            session.add(member)
    except IntegrityError:
        raise Conflict(f"There is a member {email!r} in this project already.") from None
    session.refresh(member)
    return member, token


def invite_again(session: Session, *, project_id: UUID, member_id: UUID) -> tuple[Member, str]:
    """A fresh invitation; earlier ones end. It also serves who forgot the password. Raises `NotFound`."""
    member = get(session, project_id=project_id, member_id=member_id)
    return member, _invited(member)


def accept(session: Session, *, token: str, password: str) -> Member:
    """Takes the password of whoever was invited; the token cannot be used again.

    Sessions that were open under an earlier password end. Raises `InvitationUnusable`.
    """
    hashed = digest(_PURPOSE, token)
    query = select(Member).where(Member.invitation_hash == hashed, Member.removed_at.is_(None))
    member = session.scalar(query.with_for_update())
    if member is None or (member.invitation_expires_at or utc_now()) <= utc_now():
        raise InvitationUnusable("Ask whoever invited you for a new one.")
    member.password_hash = passwords.hashed(password)
    member.joined_at = member.joined_at or utc_now()
    member.invitation_hash = member.invitation_expires_at = None
    _end_sessions(session, member.id)
    return member


def get(session: Session, *, project_id: UUID, member_id: UUID) -> Member:
    """The member. Raises `NotFound`, also for one who was removed."""
    member = session.get(Member, member_id)
    if member is None or member.project_id != project_id or member.removed_at is not None:
        raise NotFound(f"There is no member {to_public('mem', member_id)!r} in this project.")
    return member


def list_members(
    session: Session, *, project_id: UUID, cursor: str | None, limit: int
) -> Page[Member]:
    """The project's members, newest first. Raises `InvalidCursor`."""
    query = select(Member).where(Member.project_id == project_id, Member.removed_at.is_(None))
    return page(
        session,
        query,
        keys=(Member.created_at, Member.id),
        filtered_by=f"members {project_id}",
        cursor=cursor,
        limit=limit,
    )


def change(
    session: Session, *, project_id: UUID, member_id: UUID, name: str | None, role: Role | None
) -> Member:
    """Another name or role, where given; the role holds for sessions that are open. Raises `NotFound`."""
    member = get(session, project_id=project_id, member_id=member_id)
    member.name = name or member.name
    member.role = role or member.role
    forget_after_commit(session, member.id)
    return member


def remove(session: Session, *, project_id: UUID, member_id: UUID) -> list[UUID]:
    """Ends the membership with all of its sessions, invitations, and API keys that the member made.

    The ids of these keys. Raises `NotFound`.
    """
    member = get(session, project_id=project_id, member_id=member_id)
    member.removed_at = utc_now()
    member.password_hash = member.invitation_hash = member.invitation_expires_at = None
    _end_sessions(session, member.id)
    return api_keys.revoke_made_by(session, member.id)


def names(session: Session, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """The names of the members, also of those who were removed."""
    if not member_ids:
        return {}
    rows = session.execute(select(Member.id, Member.name).where(Member.id.in_(member_ids)))
    return {row.id: row.name for row in rows}


def _invited(member: Member) -> str:
    token = _START + random_text(40)
    member.invitation_hash = digest(_PURPOSE, token)
    member.invitation_expires_at = utc_now() + timedelta(days=get_settings().invitation_days)
    return token


def _end_sessions(session: Session, member_id: UUID) -> None:
    session.execute(
        update(MemberSession)
        .where(MemberSession.member_id == member_id, MemberSession.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    forget_after_commit(session, member_id)
