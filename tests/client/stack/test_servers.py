"""The embedded servers against real programs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from client.stack.errors import WheelMissing
from client.stack.folder import DataFolder, open_folder
from client.stack.postgres import Postgres
from client.stack.processes import Child, wait_until
from client.stack.redis import Redis
from client.stack.wheels import redis_server

NEVER = threading.Event()


@contextmanager
def _postgres(folder: DataFolder) -> Iterator[str]:
    server = Postgres(folder)
    server.prepare(stop=NEVER)
    child = Child(server.command, folder.log("postgres"))
    try:
        wait_until(lambda: server.is_ready(child.pid), stop=NEVER, within_s=30)
        yield server.url.replace("+psycopg", "")
    finally:
        child.stop(hurry=NEVER)
        server.discard_sockets()


def test_postgres_keeps_its_data_under_a_long_path_and_after_a_stale_lock(data_dir: Path) -> None:
    folder = open_folder(data_dir / ("long path " * 10).strip())
    with _postgres(folder) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        assert connection.info.server_version >= 180000
    # The lock of a server that was killed, whose process id is another process' by now.
    (folder.postgres / "postmaster.pid").write_text("1\n")
    with _postgres(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_an_initialisation_that_was_cut_off_is_made_anew(data_dir: Path) -> None:
    folder = open_folder(data_dir)
    (folder.postgres / "base").mkdir()
    (folder.postgres / "base" / "half").write_text("half")
    with _postgres(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_redis_asks_for_its_password_and_keeps_its_data(data_dir: Path) -> None:
    folder = open_folder(data_dir)
    for expected in (None, b"value"):
        server = Redis(folder)
        server.prepare()
        child = Child(server.command, folder.log("redis"))
        try:
            wait_until(server.is_ready, stop=NEVER, within_s=20)
            with redis.Redis.from_url(server.url) as client:
                assert client.get("key") == expected
                assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
                client.set("key", "value")
            without_password = "redis://" + server.url.partition("@")[2]
            with (
                redis.Redis.from_url(without_password) as client,
                pytest.raises(redis.AuthenticationError),
            ):
                client.ping()
        finally:
            child.stop(hurry=NEVER)


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.stack.wheels.find_spec", lambda _: None)
    with pytest.raises(WheelMissing, match=r"pip install 'vader-service\[local\]'"):
        redis_server()
