"""Who a request comes from: an API key or the session of a member, verified in the database."""

from __future__ import annotations

from sqlalchemy.orm import Session

from domain import api_keys, db, sessions
from domain.callers import Caller
from domain.remembered import remembered


def require_form(credential: str) -> None:
    """Raises `InvalidApiKey` or `NotSignedIn` for what `verify` would look up in vain: it is neither a
    key nor the token of a session."""
    if credential.startswith(sessions.START):
        sessions.require_form(credential)
    else:
        api_keys.require_form(credential)


def verify(credential: str) -> Caller:
    """The caller behind an API key or the token of a session, looked up now and remembered.

    Raises `InvalidApiKey`, `ExpiredApiKey`, `NotSignedIn`, `Unavailable`.
    """
    of_member = credential.startswith(sessions.START)
    with db.without_tenant(), db.transaction() as session:
        caller = (
            sessions.verify(session, credential)
            if of_member
            else api_keys.verify(session, credential)
        )
    remembered.put(credential, caller)
    return caller


def still_valid(session: Session, caller: Caller) -> bool:
    """Whether the caller's key or session has neither ended nor expired: for streams that stay open."""
    if caller.session_id is not None:
        return sessions.is_active(session, caller.session_id)
    return caller.key_id is not None and api_keys.is_active(session, caller.key_id)
