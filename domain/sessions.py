"""Sessions: members who are signed in. The browser holds a token, the database its digest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session

from domain import db, passwords
from domain.access_tables import Member, MemberSession
from domain.callers import Caller
from domain.errors import InvalidCredentials, NotFound, NotSignedIn
from domain.ids import from_public, new_id, to_public
from domain.members import SCOPES
from domain.pages import Page, page
from domain.remembered import forget_after_commit
from domain.settings import get_settings
from domain.tables import Project
from domain.tokens import digest, random_text

START = "vdr_session_"
_PURPOSE = "sessions"
_LENGTH = 43
_FORM = re.compile(f"{START}[A-Za-z0-9]{{{_LENGTH}}}")
_SIGN_IN = "POST /v1/sessions with email and password."
_MOST_MEMBERSHIPS = 8
_USE_NOTED_EVERY = timedelta(minutes=1)
_LONGEST_AGENT = 200


def sign_in(
    session: Session,
    *,
    email: str,
    password: str,
    project: str | None,
    address: str | None,
    user_agent: str | None,
) -> tuple[MemberSession, Member, str]:
    """A new session, its member, and the token for the cookie.

    `project` (an id or a name) is needed by who has one password in several. Raises
    `InvalidCredentials`, at the same cost whether there is such a member or not; memberships in several
    projects cost a check each.
    """
    found = _memberships(session, email.lower(), project)
    hashes = [member.password_hash for member in found] or [None]
    matching = [passwords.matches(stored, password) for stored in hashes]
    if sum(matching) != 1:
        raise InvalidCredentials("If you are a member of several projects, name one as `project`.")
    member = found[matching.index(True)]
    token = START + random_text(_LENGTH)
    made = MemberSession(
        id=new_id(),
        project_id=member.project_id,
        member_id=member.id,
        token_hash=digest(_PURPOSE, token),
        address=address,
        user_agent=None if user_agent is None else user_agent[:_LONGEST_AGENT],
        expires_at=db.utc_now() + timedelta(days=get_settings().session_days),
    )
    session.add(made)
    session.flush()
    return made, member, token


def require_form(token: str) -> None:
    """Raises `NotSignedIn` for what can be no session's token, without a look into the database."""
    if not _FORM.fullmatch(token):
        raise NotSignedIn(_SIGN_IN)


def verify(session: Session, token: str) -> Caller:
    """The member whose session `token` is, its use noted. Raises `NotSignedIn`."""
    query = select(MemberSession, Member, func.clock_timestamp()).join(
        Member, Member.id == MemberSession.member_id
    )
    row = session.execute(
        query.where(MemberSession.token_hash == digest(_PURPOSE, token), _alive())
    ).one_or_none()
    if row is None:
        raise NotSignedIn(_SIGN_IN)
    signed_in, member, now = row
    if signed_in.last_used_at < now - _USE_NOTED_EVERY:
        signed_in.last_used_at = now
    return Caller(
        project_id=member.project_id,
        name=member.name,
        scopes=list(SCOPES[member.role]),
        key_id=None,
        member_id=member.id,
        expires_at=signed_in.expires_at,
        last_used_at=signed_in.last_used_at,
        session_id=signed_in.id,
    )


def is_active(session: Session, session_id: UUID) -> bool:
    """Whether the session has neither ended nor expired."""
    query = select(MemberSession.id).where(MemberSession.id == session_id, _alive())
    return session.scalar(query) is not None


def list_sessions(
    session: Session, *, project_id: UUID, member_id: UUID | None, cursor: str | None, limit: int
) -> Page[MemberSession]:
    """Open sessions of the project, or of one member alone, newest first. Raises `InvalidCursor`."""
    query = select(MemberSession).where(MemberSession.project_id == project_id, _alive())
    if member_id is not None:
        query = query.where(MemberSession.member_id == member_id)
    return page(
        session,
        query,
        keys=(MemberSession.created_at, MemberSession.id),
        filtered_by=f"sessions {project_id} {member_id}",
        cursor=cursor,
        limit=limit,
    )


def end(session: Session, *, project_id: UUID, member_id: UUID | None, session_id: UUID) -> None:
    """Signs a browser out, at once and for ever; with `member_id`, only one of that member.

    Raises `NotFound`.
    """
    mine = [] if member_id is None else [MemberSession.member_id == member_id]
    ended = (
        update(MemberSession)
        .where(MemberSession.id == session_id, MemberSession.project_id == project_id, *mine)
        .values(ended_at=func.coalesce(MemberSession.ended_at, func.clock_timestamp()))
        .returning(MemberSession.id)
        .execution_options(synchronize_session=False)
    )
    if session.scalar(ended) is None:
        raise NotFound(f"There is no session {to_public('ses', session_id)!r} in this project.")
    forget_after_commit(session, session_id)


def _alive() -> ColumnElement[bool]:
    return and_(MemberSession.ended_at.is_(None), MemberSession.expires_at > func.clock_timestamp())


def _memberships(session: Session, email: str, project: str | None) -> Sequence[Member]:
    """The members with this email and a password; the oldest, where they are very many."""
    query = select(Member).where(
        Member.email == email, Member.removed_at.is_(None), Member.password_hash.is_not(None)
    )
    if project is not None:
        query = query.join(Project, Project.id == Member.project_id).where(_is_named(project))
    return session.scalars(query.order_by(Member.joined_at).limit(_MOST_MEMBERSHIPS)).all()


def _is_named(project: str) -> ColumnElement[bool]:
    try:
        return Project.id == from_public("prj", project)
    except NotFound:
        return Project.name == project
