"""Fixtures of the API's tests: teams with keys, the app in this process, and a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.server import make_server
from domain.settings import Settings
from tests.api.teams import Team, make_team
from tests.openapi import recording


@pytest.fixture
def team(settings: Settings) -> Team:
    """A project with a key that has every scope."""
    return make_team("ads")


@pytest.fixture
def other_team(settings: Settings) -> Team:
    """Another project: what is `team`'s must not exist for it."""
    return make_team("rivals")


@pytest.fixture
def app(settings: Settings, pytestconfig: pytest.Config) -> FastAPI:
    made = create_app(settings)
    if pytestconfig.getoption("record_examples"):
        made.add_middleware(recording.Recorder)
    return made


@pytest.fixture
def anonymous(app: FastAPI) -> Iterator[TestClient]:
    """A client without a key."""
    with TestClient(app, follow_redirects=False, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(anonymous: TestClient, team: Team) -> TestClient:
    """A client with `team`'s key."""
    anonymous.headers.update(team.headers)
    return anonymous


@pytest.fixture
def serve(settings: Settings) -> Callable[[], AbstractContextManager[str]]:
    """`with serve() as url`: the API behind a real socket, stopped at the end of the block."""

    @contextmanager
    def served() -> Iterator[str]:
        server = make_server(host="127.0.0.1", port=0)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=15)
            assert not thread.is_alive(), "the server did not stop"

    return served
