"""Repeated requests: the first answer under an Idempotency-Key is given again.

The row is written in the transaction that creates the job, so both exist or neither. The sweeper keeps
rows for `idempotency_keep_days`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from domain.errors import IdempotencyInProgress, IdempotencyKeyReused
from domain.service_tables import IdempotencyKey
from domain.tables import Json


@dataclass(frozen=True)
class Replay:
    """The first answer, to be sent again as it was, but for `unstored`: the top-level fields that hold
    secrets, which only the first answer shows. Repeated, they are null."""

    status_code: int
    headers: dict[str, str]
    body: Json
    unstored: tuple[str, ...] = ()


def begin(session: Session, *, project_id: UUID, key: str, fingerprint: str) -> Replay | None:
    """The first answer under `key`, or None when this is the first request and must go on to `finish`.

    `fingerprint` tells requests apart (a hash of method, path and body). Raises `IdempotencyKeyReused`
    when the key came with another one, `IdempotencyInProgress` while the first request still runs.
    """
    # A lock for the length of the transaction: it vanishes with a process that dies on the way.
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_lock(project_id, key)))):
        raise IdempotencyInProgress("Send it again in a moment to get the first request's answer.")
    row = session.get(IdempotencyKey, (project_id, key))
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise IdempotencyKeyReused("Use a fresh key for every new request.")
    return Replay(row.status_code, row.headers, row.body)


def finish(
    session: Session,
    *,
    project_id: UUID,
    key: str,
    fingerprint: str,
    answer: Replay,
) -> None:
    """Keeps the answer for whoever repeats the request, in the transaction that did the work."""
    session.add(
        IdempotencyKey(
            project_id=project_id,
            key=key,
            fingerprint=fingerprint,
            status_code=answer.status_code,
            headers=answer.headers,
            body={**answer.body, **dict.fromkeys(answer.unstored)},
        )
    )


def _lock(project_id: UUID, key: str) -> int:
    digest = hashlib.sha256(b"idempotency " + project_id.bytes + key.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
