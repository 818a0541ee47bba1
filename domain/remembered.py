"""Callers who were verified a moment ago, so that not every request asks the database.

What is remembered is found by a hash of the credential, never by the credential. Whatever ends in this
process is forgotten at once; other processes learn of it when their two seconds are over.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from uuid import UUID

from sqlalchemy.orm import Session

from domain import db
from domain.callers import Caller

KEPT_S = 2.0
MOST = 10_000
_Found = tuple[Caller, float]


class Remembered:
    """The callers of this process. Safe for use from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: OrderedDict[bytes, _Found] = OrderedDict()
        self._lock = Lock()
        self._key = secrets.token_bytes(32)

    def get(self, credential: str) -> Caller | None:
        """The caller, unless it was verified too long ago or has expired since."""
        found = self._found.get(self._name(credential))
        if found is None or found[1] <= self._clock():
            return None
        caller = found[0]
        expired = caller.expires_at is not None and caller.expires_at <= db.utc_now()
        return None if expired else caller

    def knows(self, credential: str) -> bool:
        """Whether the credential was good when it was last looked up, however long ago."""
        return self._name(credential) in self._found

    def drop(self, credential: str) -> None:
        """Forgets a credential that was found to be no longer good."""
        with self._lock:
            self._found.pop(self._name(credential), None)

    def put(self, credential: str, caller: Caller) -> None:
        """Remembers a caller who was verified this moment."""
        with self._lock:
            self._found[self._name(credential)] = (caller, self._clock() + KEPT_S)
            self._found.move_to_end(self._name(credential))
            while len(self._found) > MOST:
                self._found.popitem(last=False)

    def forget(self, credential_id: UUID) -> None:
        """Forgets whoever came with this key or session, or is this member."""
        with self._lock:
            gone = [
                name
                for name, (caller, _) in self._found.items()
                if credential_id in (caller.key_id, caller.session_id, caller.member_id)
            ]
            for name in gone:
                del self._found[name]

    def _name(self, credential: str) -> bytes:
        return hashlib.blake2b(credential.encode(errors="replace"), key=self._key).digest()


remembered = Remembered()


def forget_after_commit(session: Session, credential_id: UUID) -> None:
    """Forgets the key, session or member once the session's transaction is committed."""
    db.after_commit(session, lambda: remembered.forget(credential_id))
