"""API keys: `vdr_live_<8 characters>_<secret>_<crc32>`.

The 8 characters find the row; of the secret only its HMAC-SHA256 under the pepper is stored, which is
enough because the secret has 190 random bits. The checksum lets scanners recognise a leaked key. An
unknown id costs the same time as a wrong secret.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from domain import db
from domain.callers import Caller
from domain.errors import ExpiredApiKey, InvalidApiKey, NotFound, ProjectQuotaExhausted
from domain.ids import new_id, to_public
from domain.pages import Page, page
from domain.remembered import forget_after_commit
from domain.tables import ApiKey, Project
from domain.tokens import digest, random_text

ALL_SCOPES = (
    *("jobs:read", "jobs:write", "prompt_sets:write", "templates:write", "uploads:write"),
    *("artifacts:read", "adapters:write", "generations:write", "webhooks:write"),
    *("usage:read", "keys:write", "audit:read"),
)
MAX_ACTIVE = 100
"""So many keys of one project may hold at once."""
_START = "vdr_live"
_PURPOSE = "api-keys"
_NOT_VALID = "Send a key of this service as `Authorization: Bearer vdr_live_...`."
# Writing every use would make every request a write of the same row.
_USE_NOTED_EVERY = timedelta(minutes=1)


def create(
    session: Session,
    *,
    project_id: UUID,
    name: str,
    scopes: Sequence[str] = ALL_SCOPES,
    expires_at: datetime | None = None,
    by: Caller | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which is shown this once and cannot be read again. `by` None: an operator."""
    lookup_id, secret = random_text(8), random_text(32)
    key = ApiKey(
        id=new_id(),
        project_id=project_id,
        name=name,
        lookup_id=lookup_id,
        secret_hash=digest(_PURPOSE, secret),
        scopes=list(scopes),
        expires_at=expires_at,
        created_by_key_id=None if by is None else by.key_id,
        created_by_member_id=None if by is None else by.member_id,
    )
    session.add(key)
    body = f"{_START}_{lookup_id}_{secret}"
    return key, f"{body}_{_checksum(body)}"


def require_room(session: Session, project_id: UUID) -> None:
    """Raises `ProjectQuotaExhausted` where the project has `MAX_ACTIVE` keys that hold.

    Until the transaction ends, no other can ask this for the project: the number holds exactly.
    """
    turn = select(Project.id).where(Project.id == project_id)
    session.execute(turn.with_for_update(key_share=True))
    query = select(func.count()).where(ApiKey.project_id == project_id, _holds())
    used = session.scalar(query) or 0
    if used >= MAX_ACTIVE:
        raise ProjectQuotaExhausted(
            f"The project has {used} API keys that hold. Revoke one that is not needed.",
            quota="api_keys",
            limit=MAX_ACTIVE,
            used=used,
            resets_at=None,
        )


def require_form(token: str) -> None:
    """Raises `InvalidApiKey` for what can be no key of this service, without a look into the database."""
    _parts(token)


def verify(session: Session, token: str) -> Caller:
    """The caller that `token` stands for, its use noted. Raises `InvalidApiKey`, `ExpiredApiKey`."""
    lookup_id, secret = _parts(token)
    query = select(ApiKey, func.clock_timestamp()).where(ApiKey.lookup_id == lookup_id)
    key, now = session.execute(query).one_or_none() or (None, db.utc_now())
    stored = bytes(32) if key is None else key.secret_hash
    if (
        not hmac.compare_digest(stored, digest(_PURPOSE, secret))
        or key is None
        or key.revoked_at is not None
    ):
        raise InvalidApiKey(_NOT_VALID)
    if key.expires_at is not None and key.expires_at <= now:
        raise ExpiredApiKey(f"It was valid until {key.expires_at.isoformat()}.")
    if key.last_used_at is None or key.last_used_at < now - _USE_NOTED_EVERY:
        _note_use(session, key)
    return Caller(
        key_id=key.id,
        project_id=key.project_id,
        name=key.name,
        scopes=key.scopes,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        member_id=None,
    )


def is_active(session: Session, key_id: UUID) -> bool:
    """Whether the key is neither revoked nor expired: for streams that outlive their first check."""
    return session.scalar(select(ApiKey.id).where(ApiKey.id == key_id, _holds())) is not None


def revoke(session: Session, *, project_id: UUID, key_id: UUID) -> None:
    """Ends the key, at once and for ever. Raises `NotFound`."""
    ended = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.project_id == project_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.clock_timestamp()))
        .returning(ApiKey.id)
    )
    if session.scalar(ended) is None:
        raise _unknown(key_id)
    forget_after_commit(session, key_id)


def revoke_made_by(session: Session, member_id: UUID) -> list[UUID]:
    """Ends the keys that the member made, and those that were made with them. Their ids."""
    made = select(ApiKey.id).where(ApiKey.created_by_member_id == member_id).cte(recursive=True)
    made = made.union(select(ApiKey.id).where(ApiKey.created_by_key_id == made.c.id))
    ended = (
        update(ApiKey)
        .where(ApiKey.id.in_(select(made.c.id)), ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiKey.id)
        .execution_options(synchronize_session=False)
    )
    key_ids = list(session.scalars(ended))
    for key_id in key_ids:
        forget_after_commit(session, key_id)
    return key_ids


def get(session: Session, *, project_id: UUID, key_id: UUID) -> ApiKey:
    """The key, revoked or not. Raises `NotFound`."""
    key = session.get(ApiKey, key_id)
    if key is None or key.project_id != project_id:
        raise _unknown(key_id)
    return key


def rename(session: Session, *, project_id: UUID, key_id: UUID, name: str) -> ApiKey:
    """Gives the key another name. Raises `NotFound`."""
    key = get(session, project_id=project_id, key_id=key_id)
    key.name = name
    return key


def list_keys(
    session: Session, *, project_id: UUID, cursor: str | None, limit: int
) -> Page[ApiKey]:
    """The project's keys that are not revoked, newest first. Raises `InvalidCursor`."""
    query = select(ApiKey).where(ApiKey.project_id == project_id, ApiKey.revoked_at.is_(None))
    return page(
        session,
        query,
        keys=(ApiKey.created_at, ApiKey.id),
        filtered_by=f"api keys {project_id}",
        cursor=cursor,
        limit=limit,
    )


def names(session: Session, key_ids: Collection[UUID]) -> dict[UUID, str]:
    """The names of the keys."""
    rows = session.execute(select(ApiKey.id, ApiKey.name).where(ApiKey.id.in_(key_ids)))
    return {row.id: row.name for row in rows}


def _holds() -> ColumnElement[bool]:
    in_time = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.clock_timestamp())
    return and_(ApiKey.revoked_at.is_(None), in_time)


def _unknown(key_id: UUID) -> NotFound:
    return NotFound(f"There is no API key {to_public('key', key_id)!r} in this project.")


def _note_use(session: Session, key: ApiKey) -> None:
    long_ago = or_(
        ApiKey.last_used_at.is_(None),
        ApiKey.last_used_at < func.clock_timestamp() - _USE_NOTED_EVERY,
    )
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, long_ago)
        .values(last_used_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


def _parts(token: str) -> tuple[str, str]:
    """The row's name and the secret. Raises `InvalidApiKey` for a malformed token."""
    body, _, checksum = token.rpartition("_")
    start, _, rest = body.rpartition(f"{_START}_")
    lookup_id, _, secret = rest.partition("_")
    if start or not hmac.compare_digest(checksum.encode(), _checksum(body).encode()):
        raise InvalidApiKey(_NOT_VALID)
    return lookup_id, secret


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode(errors='replace')):08x}"
