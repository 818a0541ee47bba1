"""Reads that clients repeat all day: asynchronous, and one message to the database and back for each.

Nothing is written here. As in `domain.db`, what is read is what `db.tenant` may see.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
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
# Both settings end with the transaction, which the whole pipeline is.
_AS_TENANT = "SELECT set_config('role', %s, true), set_config('app.project_id', %s, true)"
_DIALECT = make_url("postgresql+psycopg://").get_dialect()()
Connection = psycopg.AsyncConnection[TupleRow]
Message = tuple[bytes, dict[str, Any]]
"""A statement's text and its parameters."""


class Reads:
    """A few connections that requests of one event loop take in turn."""

    def __init__(self, database_url: str, *, connections: int = 8) -> None:
        self._url = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._compiled: WeakKeyDictionary[Select[Any], Message] = WeakKeyDictionary()
        # Last in, first out: what is used stays warm, and what is not needed is never opened.
        self._free: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        for _ in range(connections):
            self._free.put_nowait(None)

    async def rows(self, statement: Select[Any], **values: Any) -> list[TupleRow]:
        """The rows of `statement`, whose `bindparam`s are given as `values`.

        It is compiled and planned once, so it should be a constant of its module. Raises `Unavailable`
        when the database does not answer, or no connection is free for 5 seconds.
        """
        try:
            connection = await asyncio.wait_for(self._free.get(), WAIT_S)
        except TimeoutError:
            raise Unavailable("Too many requests read at this moment.") from None
        kept: Connection | None = connection
        try:
            kept = kept or await self._connect()
            try:
                return await _asked(kept, self._with(statement, values))
            except psycopg.OperationalError:
                if connection is None:
                    raise
                # It broke while nobody used it, as when the server was restarted.
                await kept.close()
                kept = await self._connect()
                return await _asked(kept, self._with(statement, values))
        except psycopg.OperationalError as error:
            logger.warning("a read failed: %s", type(error).__name__)
            await _close(kept)
            kept = None
            raise Unavailable("The database cannot be reached now.") from error
        except BaseException:
            # A request that was cancelled half-way: the next one must not meet its answer.
            await _close(kept)
            kept = None
            raise
        finally:
            self._free.put_nowait(kept)

    async def close(self) -> None:
        """Closes the connections that nobody uses."""
        while not self._free.empty():
            await _close(self._free.get_nowait())

    def _with(self, statement: Select[Any], values: dict[str, Any]) -> Message:
        compiled = self._compiled.get(statement)
        if compiled is None:
            made = statement.compile(dialect=_DIALECT)
            compiled = self._compiled[statement] = (str(made).encode(), dict(made.params))
        text, constants = compiled
        return text, {**constants, **values}

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, options=_OPTIONS
        )


async def _asked(connection: Connection, message: Message) -> list[TupleRow]:
    text, values = message
    project = db.tenant.get()
    if project is None:
        return await (await connection.execute(text, values, prepare=True)).fetchall()
    async with connection.pipeline():
        await connection.execute(_AS_TENANT, [db.TENANT_ROLE, str(project)], prepare=True)
        cursor = await connection.execute(text, values, prepare=True)
        return await cursor.fetchall()


async def _close(connection: Connection | None) -> None:
    if connection is not None:
        await connection.close()
