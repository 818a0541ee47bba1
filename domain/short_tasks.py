"""The life that scorings and generations share: claimed in turns, held by a lease, ended for good.

As with jobs, the row is the truth, a doorbell only says "look", the attempt's number is the fencing token,
and `_move` is the only way to change a status. Short tasks have no events, no checkpoints, and at most
two attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.orm import Session, aliased

from domain import db, events, quotas
from domain.errors import NotFound, StaleAttempt
from domain.generation_table import Generation
from domain.ids import Prefix, name_of, to_public
from domain.job_status import Status
from domain.scoring_table import Scoring
from domain.settings import get_settings
from vader_core.failure import Failure

MAX_ATTEMPTS = 2
Row = TypeVar("Row", bound=Scoring | Generation)
_ENDS = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
_FREED: dict[str, Any] = {"owner": None, "lease_until": None}
_END: dict[str, Any] = {**_FREED, "finished_at": func.clock_timestamp()}


@dataclass(frozen=True)
class ShortTasks(Generic[Row]):
    """One kind of short task: the rows of `table`, whose ids have `prefix`.

    `ring` tells the workers of this kind (`worker` is what one is called) to look; none need look at a task
    that has waited for longer than `waits_at_most`. `used` notes for how many seconds an attempt held a
    device; it is not called for one whose worker was lost. `ended` is called in the transaction in which a task
    ends.
    """

    table: type[Row]
    prefix: Prefix
    worker: str
    ring: Callable[[UUID], None]
    waits_at_most: timedelta
    used: Callable[[Session, Row, float], None]
    ended: Callable[[Session, Row], None] | None = None

    def add(self, session: Session, row: Row) -> Row:
        """Stores the queued `row`; a worker is told after the commit."""
        session.add(row)
        # The answer shows what the database sets.
        session.flush()
        session.refresh(row)
        db.after_commit(session, partial(self.ring, row.id))
        return row

    def get(self, session: Session, *, project_id: UUID, row_id: UUID) -> Row:
        """The task. Raises `NotFound`, also for another project's."""
        found = session.get(self.table, row_id)
        if found is None or found.project_id != project_id:
            name = to_public(self.prefix, row_id)
            raise NotFound(f"There is no {name_of(self.prefix)} {name!r} in this project.")
        return found

    def claim(self, session: Session, *, worker: str) -> Row | None:
        """The task that is next, now held by `worker`; None when none waits.

        Projects take turns: first comes the one whose last turn is longest ago, then age. Those that have
        no GPU-seconds left this month are passed over.
        """
        table, other = self.table, aliased(self.table)
        last_turn = (
            select(func.max(other.started_at))
            .where(other.project_id == table.project_id)
            .scalar_subquery()
        )
        waiting = (
            select(table.id)
            .where(table.status == Status.QUEUED, quotas.may_spend(table.project_id))
            .order_by(last_turn.asc().nulls_first(), table.created_at, table.id)
            .limit(1)
            .with_for_update(skip_locked=True, of=table)
        )
        row_id = session.scalar(waiting)
        if row_id is None:
            return None
        now = func.clock_timestamp()
        return self._move(
            session,
            row_id,
            to=Status.RUNNING,
            sources=[Status.QUEUED],
            attempt=table.attempt + 1,
            owner=worker,
            lease_until=_lease_end(),
            started_at=func.coalesce(table.started_at, now),
            claimed_at=now,
        )

    def heartbeat(self, session: Session, *, row_id: UUID, attempt: int) -> None:
        """Prolongs the lease. Raises `StaleAttempt` when it is lost: then stop at once."""
        prolonged = (
            update(self.table)
            .where(self.table.id == row_id, self._held_by(attempt))
            .values(lease_until=_lease_end())
            .returning(self.table.id)
            .execution_options(synchronize_session=False)
        )
        if session.scalar(prolonged) is None:
            raise self._stale(row_id)

    def succeed(self, session: Session, *, row_id: UUID, attempt: int, **results: Any) -> Row:
        """Ends the task with `results`, by column. Raises `StaleAttempt`."""
        row = self._move(
            session,
            row_id,
            to=Status.SUCCEEDED,
            sources=[Status.RUNNING],
            fence=[self._held_by(attempt)],
            **results,
            **_END,
        )
        self._note_use(session, row)
        return row

    def fail_attempt(self, session: Session, *, row_id: UUID, attempt: int, error: Failure) -> Row:
        """Ends the attempt: the task waits again where another attempt is left and can help, or fails.

        Raises `StaleAttempt`.
        """
        held = select(self.table).where(self.table.id == row_id, self._held_by(attempt))
        row: Row | None = session.scalar(held.with_for_update())
        if row is None:
            raise self._stale(row_id)
        self._note_use(session, row)
        return self._attempt_failed(session, row, error)

    def cancel(self, session: Session, row: Row) -> Row:
        """Ends a task that waits or runs, whose `row` is locked; who works at it finds its hold lost.

        Raises `StaleAttempt` for one that has ended.
        """
        if row.lease_until is not None:
            self._note_use(session, row)
        sources = [Status.QUEUED, Status.RUNNING]
        return self._move(session, row.id, to=Status.CANCELLED, sources=sources, **_END)

    def lose(self, session: Session, row: Row) -> Row:
        """Ends the attempt of a worker that fell silent. `row` is locked and its lease has run out."""
        error = Failure(
            code="worker_lost",
            message=f"The {self.worker} fell silent and its lease ran out.",
            hint=f"Ask again; if it repeats, look at the {self.worker}'s log.",
            fault="platform",
            retryable=True,
        )
        return self._attempt_failed(session, row, error)

    def expire(self, session: Session, row: Row) -> Row:
        """Fails a task that no worker took in time. `row` is locked and queued."""
        hours = self.waits_at_most.total_seconds() / 3600
        error = Failure(
            code="queue_expired",
            message=f"No {self.worker} took it within {hours:g} h.",
            hint="The project's GPU-seconds of the month may be used up (`GET /v1/usage`), or no "
            f"{self.worker} be free: ask again when there are some left and less is waiting.",
            fault="platform",
            retryable=True,
        )
        return self._fail(session, row, error)

    def lease_ran_out(self) -> ColumnElement[bool]:
        """Which tasks are held by nobody any more."""
        return self.table.lease_until < func.clock_timestamp()

    def waited_too_long(self) -> ColumnElement[bool]:
        """Which tasks no worker will take in time."""
        too_old = self.table.created_at < func.clock_timestamp() - self.waits_at_most
        return and_(self.table.status == Status.QUEUED, too_old)

    def _note_use(self, session: Session, row: Row) -> None:
        held = select(func.extract("epoch", func.clock_timestamp() - row.claimed_at))
        self.used(session, row, float(session.scalars(held).one()))

    def _attempt_failed(self, session: Session, row: Row, error: Failure) -> Row:
        if not error.retryable or row.attempt >= MAX_ATTEMPTS:
            return self._fail(session, row, error)
        db.after_commit(session, partial(self.ring, row.id))
        return self._move(
            session,
            row.id,
            to=Status.QUEUED,
            sources=[Status.RUNNING],
            hinted_at=func.clock_timestamp(),
            **_FREED,
        )

    def _fail(self, session: Session, row: Row, error: Failure) -> Row:
        return self._move(
            session,
            row.id,
            to=Status.FAILED,
            sources=[Status.QUEUED, Status.RUNNING],
            error=error.model_dump(mode="json"),
            **_END,
        )

    def _move(
        self,
        session: Session,
        row_id: UUID,
        *,
        to: Status,
        sources: Sequence[Status],
        fence: Sequence[ColumnElement[bool]] = (),
        **changes: Any,
    ) -> Row:
        """The task in its new status; whoever waits for it hears of it. Raises `StaleAttempt`."""
        moved = (
            update(self.table)
            .where(self.table.id == row_id, self.table.status.in_(sources), *fence)
            .values(status=to.value, version=self.table.version + 1, **changes)
            .returning(self.table)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        row: Row | None = session.scalar(moved)
        if row is None:
            raise self._stale(row_id)
        events.announce(session, row_id)
        if self.ended is not None and to in _ENDS:
            self.ended(session, row)
        return row

    def _held_by(self, attempt: int) -> ColumnElement[bool]:
        # A task that waits again keeps its number until the next claim.
        return and_(self.table.attempt == attempt, self.table.lease_until.is_not(None))

    def _stale(self, row_id: UUID) -> StaleAttempt:
        name = to_public(self.prefix, row_id)
        return StaleAttempt(f"This attempt no longer holds {name!r}.")


def _lease_end() -> ColumnElement[Any]:
    return func.clock_timestamp() + timedelta(seconds=get_settings().lease_s)
