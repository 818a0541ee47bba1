"""The least that the API's reads could cost: Starlette and psycopg, the API's own query, its rows as JSON.

`python -m benchmarks.api_bare --port N`, the database's URL in the environment as DATABASE_URL. No key is
checked, nothing is rendered, nothing is validated: what the API takes beyond this is what it does for its callers.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import uvicorn
from psycopg.rows import TupleRow
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain import events, job_list, job_reading
from domain.reads import Statement, message_of

CONNECTIONS = 8


class Database:
    """Connections that requests take in turn."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: asyncio.Queue[psycopg.AsyncConnection[TupleRow]] = asyncio.Queue()

    async def open(self) -> None:
        """Connects."""
        for _ in range(CONNECTIONS):
            # Planned once, as the API has it.
            connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, options="-c plan_cache_mode=force_generic_plan"
            )
            self._free.put_nowait(connection)

    async def rows(self, query: bytes, values: Mapping[str, Any]) -> list[TupleRow]:
        connection = await self._free.get()
        try:
            return await (await connection.execute(query, values)).fetchall()
        finally:
            self._free.put_nowait(connection)


def create_app(database: Database) -> Starlette:
    """Four routes, one query each: those of `api.routes.jobs` and `api.routes.events`."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield

    def answering(statement: Statement, status: int = 200, **asked: Any) -> Any:
        text, constants = message_of(statement)
        values = {**constants, **asked}

        async def answer(request: Request) -> Response:
            rows = await database.rows(text, {**values, **request.path_params})
            body = b"" if status == 304 else json.dumps(rows, default=str).encode()
            return Response(body, status_code=status, media_type="application/json")

        return answer

    listed = job_list.narrowed(frozenset({"of_status"}), after=False, most=21)
    routes = [
        Route("/job/{project}/{job}", answering(job_reading.WHOLE)),
        Route("/unchanged/{project}/{job}", answering(job_reading.TAG, 304)),
        Route("/list/{project}/{of_status}", answering(listed)),
        Route("/events/{project}/{job}", answering(events.PAGE, after=0, most=101)),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    url = os.environ["DATABASE_URL"]  # noqa: TID251 (not the service's)
    # As the API does.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        create_app(Database(url)), port=arguments.port, access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
