"""The least that the API's reads could cost: Starlette and psycopg, one query a request, the row as JSON.

`python -m benchmarks.api_bare --port N`, the database's URL in the environment as DATABASE_URL. No key is
checked, nothing is rendered, nothing is validated: what the API takes beyond this is what it does for its callers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import uvicorn
from psycopg.rows import dict_row
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

CONNECTIONS = 8
_JOB = "SELECT * FROM jobs WHERE id = %(job)s"
_VERSION = "SELECT version FROM jobs WHERE id = %(job)s"
# As the API's list: everything but the specs.
_COLUMNS = """
SELECT string_agg(quote_ident(column_name), ', ') AS columns FROM information_schema.columns
WHERE table_name = 'jobs' AND column_name NOT IN ('spec', 'asked_spec')
"""
_LIST = """
SELECT {columns} FROM jobs
WHERE project_id = %(project)s AND status = 'running' ORDER BY created_at DESC, id DESC LIMIT 20
"""
_EVENTS = "SELECT * FROM events WHERE job_id = %(job)s AND seq > 0 ORDER BY seq LIMIT 100"


class Database:
    """Connections that requests take in turn."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.columns = ""
        self._free: asyncio.Queue[psycopg.AsyncConnection[dict[str, Any]]] = asyncio.Queue()

    async def open(self) -> None:
        """Connects, and learns the columns of a listed job."""
        for _ in range(CONNECTIONS):
            connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, row_factory=dict_row
            )
            self._free.put_nowait(connection)
        (found,) = await self.rows(_COLUMNS, {})
        self.columns = found["columns"]

    async def rows(self, query: str, values: Mapping[str, str]) -> list[dict[str, Any]]:
        connection = await self._free.get()
        try:
            return await (await connection.execute(query, values)).fetchall()
        finally:
            self._free.put_nowait(connection)


def create_app(database: Database) -> Starlette:
    """Four routes, one query each."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await database.open()
        yield

    def answering(query: str, status: int = 200) -> Any:
        async def answer(request: Request) -> Response:
            text = query.format(columns=database.columns)
            rows = await database.rows(text, {**request.path_params})
            body = b"" if status == 304 else json.dumps(rows, default=str).encode()
            return Response(body, status_code=status, media_type="application/json")

        return answer

    routes = [
        Route("/job/{job}", answering(_JOB)),
        Route("/unchanged/{job}", answering(_VERSION, 304)),
        Route("/list/{project}", answering(_LIST)),
        Route("/events/{job}", answering(_EVENTS)),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    url = os.environ["DATABASE_URL"]  # noqa: TID251 (not the service's)
    uvicorn.run(
        create_app(Database(url)), port=arguments.port, access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
