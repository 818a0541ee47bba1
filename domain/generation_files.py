"""Removes the files of generations that were deleted, or kept for as long as was promised."""

from __future__ import annotations

import logging
from uuid import UUID

from domain import db, generations
from domain.errors import Unavailable
from domain.store import ObjectStore

log = logging.getLogger(__name__)
_AT_ONCE = 100


def remove_due(store: ObjectStore) -> int:
    """Removes the files of every generation that has some too many; of how many. Runs as often as you like.

    Stops where the store is away: what is left is found again.
    """
    with db.read() as session:
        due = generations.with_files_to_remove(session, limit=_AT_ONCE)
    return sum(remove(store, generation_id) for generation_id in due)


def remove(store: ObjectStore, generation_id: UUID) -> bool:
    """Removes the files of all attempts, then notes it; False where the store is away."""
    try:
        for key in list(store.list(generations.attempts_prefix(generation_id))):
            store.delete(key)
    except Unavailable:
        log.warning("files of generation %s stay for now: the store is away", generation_id)
        return False
    with db.transaction() as session:
        generations.note_removal(session, generation_id=generation_id)
    return True
