"""Reads that clients repeat all day: asynchronous, and one message to the database and back for each.

Nothing is written here. As in `domain.db`, what is read is what `db.tenant` may see. A connection keeps the
role, the project and the way to plan that it was given last, so it needs a session of the database for itself.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg.rows import TupleRow
from sqlalchemy import Select, make_url

from domain import db
from domain.errors import Unavailable

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5
WAIT_S = 5.0
_OPTIONS = "-c timezone=UTC -c statement_timeout=30s -c default_transaction_read_only=on"
_FOR = b"""
SELECT set_config('role', %s, false), set_config('app.project_id', %s, false),
       set_config('plan_cache_mode', %s, false)
"""
_DIALECT = make_url("postgresql+psycopg://").get_dialect()()
Connection = psycopg.AsyncConnection[TupleRow]
Cursor = psycopg.AsyncCursor[TupleRow]
Statement = Select[*tuple[Any, ...]]
Message = tuple[bytes, dict[str, Any]]
"""A statement's text and its parameters."""


class _Mode(NamedTuple):
    """Whose rows a connection sees, and whether it plans a statement for its values."""

    tenant: UUID
    plans_for_values: bool


@dataclass(eq=False)
class _Held:
    """A place in the pool: its connection, None until it is needed, and the mode that this is in."""

    connection: Connection | None = None
    cursor: Cursor | None = None
    mode: _Mode | None = None

    async def drop(self) -> None:
        """Closes the connection; the next one who takes the place makes another."""
        connection, self.connection, self.cursor, self.mode = self.connection, None, None, None
        if connection is not None:
            await connection.close()


class Reads:
    """A few connections that requests of one event loop take in turn."""

    def __init__(self, database_url: str, *, connections: int = 8) -> None:
        self._url = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._compiled: WeakKeyDictionary[Statement, Message] = WeakKeyDictionary()
        self._free = [_Held() for _ in range(connections)]
        self._turns = asyncio.Semaphore(connections)
        self._searches = asyncio.Semaphore(max(connections // 2, 1))

    async def rows(
        self, statement: Statement, *, plan_for_values: bool = False, **values: Any
    ) -> list[TupleRow]:
        """The rows of `statement`, whose `bindparam`s are given as `values`.

        It is compiled once, so it should be kept by its module, and planned once, but for `plan_for_values`: how
        it is best answered depends on the values. Such reads may be slow and have half of the connections at most.
        Raises `Unavailable` when the database does not answer in time, or no connection is free for 5 seconds, and
        `LookupError` where nobody has said whose rows are meant.
        """
        tenant = db.tenant.get()
        if tenant is None:
            raise LookupError("nobody has said for which project this is read")
        mode = _Mode(tenant, plan_for_values)
        if not plan_for_values:
            return await self._rows(mode, statement, values)
        await _turn(self._searches)
        try:
            return await self._rows(mode, statement, values)
        finally:
            self._searches.release()

    async def _rows(
        self, mode: _Mode, statement: Statement, values: dict[str, Any]
    ) -> list[TupleRow]:
        held = await self._take(mode)
        # Whether a failure may be told of a connection that broke while nobody used it.
        was_open = held.connection is not None
        try:
            try:
                return await self._asked(held, mode, statement, values)
            except psycopg.OperationalError:
                if not was_open or held.connection is None or not held.connection.closed:
                    raise
                # As when the server was restarted.
                await held.drop()
                return await self._asked(held, mode, statement, values)
        except psycopg.errors.QueryCanceled as error:
            await held.drop()
            raise Unavailable("Reading it takes too long.") from error
        except psycopg.OperationalError as error:
            logger.warning("a read failed: %s", type(error).__name__)
            await held.drop()
            raise Unavailable("The database cannot be reached now.") from error
        except BaseException:
            # A request that was cancelled half-way: the next one must not meet its answer.
            await held.drop()
            raise
        finally:
            self._free.append(held)
            self._turns.release()

    async def close(self) -> None:
        """Closes the connections that nobody uses."""
        for held in self._free:
            await held.drop()

    async def _take(self, mode: _Mode) -> _Held:
        """A place that nobody uses: one that is in this mode already, else the last one used, so that what is
        not needed is never opened."""
        await _turn(self._turns)
        for place in range(len(self._free) - 1, -1, -1):
            if self._free[place].mode == mode:
                return self._free.pop(place)
        return self._free.pop()

    async def _asked(
        self, held: _Held, mode: _Mode, statement: Statement, values: dict[str, Any]
    ) -> list[TupleRow]:
        text, constants = self._message(statement)
        values = {**constants, **values}
        if held.connection is None or held.cursor is None:
            held.connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, options=_OPTIONS
            )
            held.cursor = held.connection.cursor()
        cursor = held.cursor
        if held.mode == mode:
            await cursor.execute(text, values, prepare=True)
            return await cursor.fetchall()
        plans = "force_custom_plan" if mode.plans_for_values else "force_generic_plan"
        async with held.connection.pipeline():
            settings = [db.TENANT_ROLE, str(mode.tenant), plans]
            await held.connection.execute(_FOR, settings, prepare=True)
            await cursor.execute(text, values, prepare=True)
            found = await cursor.fetchall()
        held.mode = mode
        return found

    def _message(self, statement: Statement) -> Message:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = message_of(statement)
        return compiled


async def _turn(turns: asyncio.Semaphore) -> None:
    try:
        # To set a clock takes longer than to find that there is nothing to wait for.
        if not turns.locked():
            await turns.acquire()
            return
        async with asyncio.timeout(WAIT_S):
            await turns.acquire()
    except TimeoutError:
        raise Unavailable("Too many requests read at this moment.") from None


def message_of(statement: Statement) -> Message:
    """What is sent to the database; the parameters are those that are constants of the statement."""
    made = statement.compile(dialect=_DIALECT)
    return str(made).encode(), dict(made.params)
