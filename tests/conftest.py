"""Fixtures that every package's tests share: real Postgres, Redis and S3, and settings for them.

One server of each kind a test process; a fresh database, cloned from one that the migrations built,
an empty Redis and an empty bucket a test. `settings` puts the same configuration into the environment,
so that processes which a test starts use the very same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import boto3
import psycopg
import pytest
import redis
from argon2 import PasswordHasher

from domain import db, passwords, queue
from domain.settings import Settings, get_settings
from domain.store import ObjectStore, open_store
from migrations import upgrade
from tests import servers
from tests.openapi import recording

TEMPLATE = "vader_template"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-examples", action="store_true", help="Keep the API's answers as its examples."
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("record_examples"):
        recording.write()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server, its template database built by the migrations."""
    with servers.postgres() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        upgrade(_database(url, TEMPLATE))
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A database with every table and no rows, of this test alone."""
    with fresh_database(postgres_url) as url:
        yield url


@contextmanager
def fresh_database(postgres_url: str) -> Iterator[str]:
    """A database with every table and no rows, dropped at the end of the block."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        yield _database(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without tables."""
    name = f"empty_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield _database(postgres_url, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    with servers.redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushall()
    return redis_server_url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server."""
    with servers.s3() as endpoint:
        yield endpoint


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket's name; its credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    name = f"bucket-{uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture
def settings(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """The settings of a whole service of this test's own, with a folder store."""
    with service(database_url, redis_url, tmp_path, monkeypatch) as made:
        yield made


@contextmanager
def service(
    database_url: str,
    redis_url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    **changes: str,
) -> Iterator[Settings]:
    """The settings of a whole service, in the environment while the block runs."""
    for name in [name for name in os.environ if name.startswith("VADER_")]:
        monkeypatch.delenv(name)
    values = {
        "database_url": database_url,
        "redis_url": redis_url,
        "object_store": f"folder://{folder / 'objects'}",
        "work_dir": str(folder / "work"),
        "secret_key": "a-secret-of-the-tests-alone-0123456789",
        "retry_backoff_s": "0",
        **changes,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"VADER_{name.upper()}", value)
    get_settings.cache_clear()
    yield get_settings()
    queue.forget()
    db.dispose()
    get_settings.cache_clear()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hash of passwords at the lowest cost: for tests that are not about what it costs."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", cheap)
    passwords._nobodys.cache_clear()


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    """The object store of `settings`."""
    return open_store(settings)


def _database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")
