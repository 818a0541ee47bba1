"""The life of a scoring: a reward tried on a few videos, by a worker of its own and not by those that train.

As with jobs, the row is the truth, a doorbell only says "look", the attempt's number is the fencing token,
and `_move` is the only way to change a status. A scoring is short: it has no events, no checkpoints, and
at most two attempts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session, aliased

from domain import db, events, queue
from domain.errors import NotFound, StaleAttempt
from domain.ids import new_id, to_public
from domain.scoring_table import Scoring, ScoringStatus
from domain.settings import get_settings
from domain.tables import Json
from vader_core.scoring import ScoreFailure

MAX_ATTEMPTS = 2
WAITS_AT_MOST = timedelta(hours=1)
_FREED: dict[str, Any] = {"owner": None, "lease_until": None}
_END: dict[str, Any] = {**_FREED, "finished_at": func.clock_timestamp()}


@dataclass(frozen=True)
class ScoringClaim:
    """A scoring that this worker now holds. `reward` is id@version; `videos` are as in the table."""

    scoring_id: UUID
    attempt: int
    reward: str
    params: Json
    videos: list[Json]
    trace_id: str


@dataclass(frozen=True)
class Asked:
    """What a client asked for: the fields of the table with these names."""

    reward: Json
    params: Json
    videos: list[Json]


def create(
    session: Session,
    asked: Asked,
    *,
    project_id: UUID,
    created_by_key_id: UUID | None,
    trace_id: str,
) -> Scoring:
    """A queued scoring; a scorer is told after the commit."""
    row = Scoring(
        id=new_id(),
        project_id=project_id,
        created_by_key_id=created_by_key_id,
        trace_id=trace_id,
        reward=asked.reward,
        params=asked.params,
        videos=asked.videos,
        status=ScoringStatus.QUEUED.value,
    )
    session.add(row)
    # The answer shows what the database sets.
    session.flush()
    session.refresh(row)
    db.after_commit(session, partial(queue.ring_scorer, row.id))
    return row


def get(session: Session, *, project_id: UUID, scoring_id: UUID) -> Scoring:
    """The scoring. Raises `NotFound`, also for another project's."""
    found = session.get(Scoring, scoring_id)
    if found is None or found.project_id != project_id:
        raise NotFound(f"There is no scoring {to_public('scr', scoring_id)!r} in this project.")
    return found


def claim(session: Session, *, worker: str) -> ScoringClaim | None:
    """The scoring that is next, now held by `worker`; None when none waits.

    Projects take turns: first comes the one whose last turn is longest ago, then age.
    """
    other = aliased(Scoring)
    last_turn = (
        select(func.max(other.started_at))
        .where(other.project_id == Scoring.project_id)
        .scalar_subquery()
    )
    waiting = (
        select(Scoring)
        .where(Scoring.status == ScoringStatus.QUEUED)
        .order_by(last_turn.asc().nulls_first(), Scoring.created_at, Scoring.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Scoring)
    )
    row = session.scalar(waiting)
    if row is None:
        return None
    row = _move(
        session,
        row.id,
        to=ScoringStatus.RUNNING,
        sources=[ScoringStatus.QUEUED],
        attempt=Scoring.attempt + 1,
        owner=worker,
        lease_until=_lease_end(),
        started_at=func.coalesce(Scoring.started_at, func.clock_timestamp()),
    )
    return ScoringClaim(
        scoring_id=row.id,
        attempt=row.attempt,
        reward=row.reward["name"],
        params=row.params,
        videos=row.videos,
        trace_id=row.trace_id,
    )


def heartbeat(session: Session, *, scoring_id: UUID, attempt: int) -> None:
    """Prolongs the lease. Raises `StaleAttempt` when it is lost: then stop at once."""
    prolonged = (
        update(Scoring)
        .where(Scoring.id == scoring_id, _held_by(attempt))
        .values(lease_until=_lease_end())
        .returning(Scoring.id)
        .execution_options(synchronize_session=False)
    )
    if session.scalar(prolonged) is None:
        raise _stale(scoring_id)


def succeed(session: Session, *, scoring_id: UUID, attempt: int, result: Json) -> Scoring:
    """Ends the scoring with the scorer's result. Raises `StaleAttempt`."""
    return _move(
        session,
        scoring_id,
        to=ScoringStatus.SUCCEEDED,
        sources=[ScoringStatus.RUNNING],
        fence=[_held_by(attempt)],
        result=result,
        **_END,
    )


def fail_attempt(
    session: Session, *, scoring_id: UUID, attempt: int, error: ScoreFailure
) -> Scoring:
    """Ends the attempt: the scoring waits again where another attempt is left and can help, or fails.

    Raises `StaleAttempt`.
    """
    held = select(Scoring).where(Scoring.id == scoring_id, _held_by(attempt))
    row = session.scalar(held.with_for_update())
    if row is None:
        raise _stale(scoring_id)
    return _attempt_failed(session, row, error)


def lose(session: Session, row: Scoring) -> Scoring:
    """Ends the attempt of a scorer that fell silent. `row` is locked and its lease has run out."""
    error = ScoreFailure(
        code="worker_lost",
        message="The scorer fell silent and its lease ran out.",
        hint="Ask again; if it repeats, look at the scorer's log.",
        fault="platform",
        retryable=True,
    )
    return _attempt_failed(session, row, error)


def expire(session: Session, row: Scoring) -> Scoring:
    """Fails a scoring that no scorer took in time. `row` is locked and queued."""
    error = ScoreFailure(
        code="queue_expired",
        message="No scorer was free for an hour.",
        hint="Ask again when less is waiting; an operator sees whether a scorer runs at all.",
        fault="platform",
        retryable=True,
    )
    return _fail(session, row, error)


def lease_ran_out() -> ColumnElement[bool]:
    """Which scorings are held by nobody any more."""
    return Scoring.lease_until < func.clock_timestamp()


def waited_too_long() -> ColumnElement[bool]:
    """Which scorings no scorer will take in time."""
    too_old = Scoring.created_at < func.clock_timestamp() - WAITS_AT_MOST
    return and_(Scoring.status == ScoringStatus.QUEUED, too_old)


def _attempt_failed(session: Session, row: Scoring, error: ScoreFailure) -> Scoring:
    if not error.retryable or row.attempt >= MAX_ATTEMPTS:
        return _fail(session, row, error)
    db.after_commit(session, partial(queue.ring_scorer, row.id))
    return _move(
        session,
        row.id,
        to=ScoringStatus.QUEUED,
        sources=[ScoringStatus.RUNNING],
        hinted_at=func.clock_timestamp(),
        **_FREED,
    )


def _fail(session: Session, row: Scoring, error: ScoreFailure) -> Scoring:
    return _move(
        session,
        row.id,
        to=ScoringStatus.FAILED,
        sources=[ScoringStatus.QUEUED, ScoringStatus.RUNNING],
        error=error.model_dump(mode="json"),
        **_END,
    )


def _move(
    session: Session,
    scoring_id: UUID,
    *,
    to: ScoringStatus,
    sources: Sequence[ScoringStatus],
    fence: Sequence[ColumnElement[bool]] = (),
    **changes: Any,
) -> Scoring:
    """The scoring in its new status; whoever waits for it hears of it. Raises `StaleAttempt`."""
    moved = (
        update(Scoring)
        .where(Scoring.id == scoring_id, Scoring.status.in_(sources), *fence)
        .values(status=to.value, version=Scoring.version + 1, **changes)
        .returning(Scoring)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    row: Scoring | None = session.scalar(moved)
    if row is None:
        raise _stale(scoring_id)
    events.announce(session, scoring_id)
    return row


def _held_by(attempt: int) -> ColumnElement[bool]:
    # A scoring that waits again keeps its number until the next claim.
    return and_(Scoring.attempt == attempt, Scoring.lease_until.is_not(None))


def _stale(scoring_id: UUID) -> StaleAttempt:
    name = to_public("scr", scoring_id)
    return StaleAttempt(f"This attempt no longer holds the scoring {name!r}.")


def _lease_end() -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=get_settings().lease_s)
