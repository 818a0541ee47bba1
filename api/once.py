"""POSTs that act once however often they are sent: `Idempotency-Key`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, JsonValue
from sqlalchemy.orm import Session

from api.problems import IdempotencyKeyMissing, InputFault, InvalidParameters
from domain import db, idempotency
from domain.callers import Caller
from domain.idempotency import Replay

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255


def once(
    request: Request, caller: Caller, document: JsonValue, act: Callable[[Session], Replay]
) -> JSONResponse:
    """Runs `act` in one transaction together with the note that this request was done.

    A repeated request gets the first answer again. An `act` that raises leaves no trace, so the same
    key may be used with the corrected body. Raises `IdempotencyKeyMissing`, `IdempotencyKeyReused`,
    `IdempotencyInProgress`.
    """
    key, fingerprint = _idempotency_key(request), _fingerprint(request, document)
    with db.transaction() as session:
        replay = idempotency.begin(
            session, project_id=caller.project_id, key=key, fingerprint=fingerprint
        )
        if replay is not None:
            headers = {**replay.headers, "Idempotent-Replayed": "true"}
            return JSONResponse(replay.body, status_code=replay.status_code, headers=headers)
        answer = act(session)
        idempotency.finish(
            session,
            project_id=caller.project_id,
            key=key,
            fingerprint=fingerprint,
            answer=answer,
        )
    return JSONResponse(answer.body, status_code=answer.status_code, headers=answer.headers)


def answer_of(
    body: BaseModel, *, status_code: int, headers: dict[str, str], unstored: tuple[str, ...] = ()
) -> Replay:
    """What an action answers, now and, but for the `unstored` fields, whenever its request is repeated."""
    return Replay(status_code, headers, body.model_dump(mode="json"), unstored)


def _idempotency_key(request: Request) -> str:
    key = request.headers.get(HEADER, "").strip()
    if not key:
        raise IdempotencyKeyMissing(f"{request.method} {request.url.path} needs it.")
    if len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        detail = f"At most {MAX_KEY_LENGTH} printable ASCII characters."
        fault = InputFault(parameter=HEADER, location="header", code="illegal_key", detail=detail)
        raise InvalidParameters([fault])
    return key


def _fingerprint(request: Request, document: JsonValue) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    wish = f"{request.method} {request.url.path}\n{canonical}"
    return hashlib.sha256(wish.encode()).hexdigest()
