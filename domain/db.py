"""The database's edge: one engine, short transactions, and the only place that commits.

Where `tenant` is set, transactions work as a role that sees one project's rows alone (row-level
security). The API sets it for every request; worker, sweeper and operators work without.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Lock
from uuid import UUID

from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from domain.errors import Unavailable
from domain.settings import get_settings

logger = logging.getLogger(__name__)
_AFTER_COMMIT = "after_commit"
# The server ends what a frozen client leaves open, so that no lock outlives its holder for long.
_SERVER_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s"
    " -c idle_in_transaction_session_timeout=60s"
)
TENANT_ROLE = "vader_tenant"
tenant: ContextVar[UUID | None] = ContextVar("tenant", default=None)
"""The project whose rows are all that this context may see and write; None: everything."""
# Statements without parameters go by the simple protocol, which takes several of them at once.
_AS_THEY_STAND = {"no_parameters": True}
_engines: dict[str, Engine] = {}
_engines_lock = Lock()


def utc_now() -> datetime:
    """This machine's time, for answers and logs. Leases and expiries use the database's clock."""
    return datetime.now(UTC)


def engine() -> Engine:
    """The engine for the settings' database; made once per process and database."""
    url = sqlalchemy_url(get_settings().database_url.get_secret_value())
    with _engines_lock:
        if url not in _engines:
            _engines[url] = _new_engine(url)
        return _engines[url]


def sqlalchemy_url(database_url: str) -> str:
    """`database_url` with the driver named, whether it was or not."""
    return (
        make_url(database_url)
        .set(drivername="postgresql+psycopg")
        .render_as_string(hide_password=False)
    )


def _new_engine(url: str) -> Engine:
    return create_engine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_timeout=5,
        # The driver begins no transaction by itself: `_begin` does, and says for whom, in one message.
        connect_args={"connect_timeout": 5, "options": _SERVER_OPTIONS, "autocommit": True},
    )


def dispose() -> None:
    """Closes every pooled connection. For the end of a process."""
    with _engines_lock:
        for made in _engines.values():
            made.dispose()
        _engines.clear()


@contextmanager
def transaction() -> Iterator[Session]:
    """A session that commits when the block ends, and rolls back when it raises.

    Functions given to `after_commit` run after the commit and never when it failed. Rows stay readable
    after the block. Raises `Unavailable` when the database cannot be reached.
    """
    with _opened() as session:
        yield session
        session.commit()
    for call in session.info.pop(_AFTER_COMMIT, []):
        call()


@contextmanager
def read() -> Iterator[Session]:
    """A session for reading: it never commits. Raises `Unavailable` as `transaction` does."""
    with _opened() as session:
        yield session


@contextmanager
def without_tenant() -> Iterator[None]:
    """Transactions that begin in the block see every project."""
    before = tenant.set(None)
    try:
        yield
    finally:
        tenant.reset(before)


@contextmanager
def all_projects(session: Session) -> Iterator[None]:
    """Lets the open `session` see every project for the block: for counts that tell no one's rows.

    After an exception the transaction is of no use any more.
    """
    if tenant.get() is None:
        yield
        return
    session.flush()
    session.execute(text("SET LOCAL ROLE NONE"))
    yield
    session.flush()
    session.execute(text(f"SET LOCAL ROLE {TENANT_ROLE}"))


def after_commit(session: Session, call: Callable[[], None]) -> None:
    """Runs `call` once the session's transaction is committed; it must neither block nor raise."""
    session.info.setdefault(_AFTER_COMMIT, []).append(call)


@contextmanager
def exclusive(lock: int) -> Iterator[bool]:
    """Whether this process alone holds the advisory lock number `lock` while the block runs.

    The lock lives on a connection of its own, outside any transaction, and ends with it.
    """
    with _reachable(), engine().connect() as connection:
        held = bool(connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}))
        try:
            yield held
        finally:
            if held:
                _unlock(connection, lock)


def _unlock(connection: Connection, lock: int) -> None:
    try:
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": lock})
    except (OperationalError, InterfaceError):
        # The connection is gone, and the lock with it.
        logger.warning("the connection that held advisory lock %s was lost", lock)


def ping() -> None:
    """Raises `Unavailable` when the database does not answer."""
    with read() as session:
        session.execute(text("SELECT 1"))


@contextmanager
def _opened() -> Iterator[Session]:
    """A session whose transaction has begun."""
    with _reachable(), Session(engine(), expire_on_commit=False) as session:
        try:
            _begin(session)
        except OperationalError as error:
            if not error.connection_invalidated:
                raise
            # The server has closed a pooled connection; the pool has given up all of its age by now.
            session.rollback()
            _begin(session)
        yield session


def _begin(session: Session) -> None:
    wanted = tenant.get()
    begin = "BEGIN"
    if wanted is not None:
        begin += f"; SET LOCAL ROLE {TENANT_ROLE}; SET LOCAL app.project_id = '{wanted}'"
    session.connection().exec_driver_sql(begin, execution_options=_AS_THEY_STAND)


@contextmanager
def _reachable() -> Iterator[None]:
    """Turns what the driver raises for an absent or overloaded server into `Unavailable`."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        logger.warning("database unavailable: %s", type(error.__cause__ or error).__name__)
        raise Unavailable("The database cannot be reached now.") from error
