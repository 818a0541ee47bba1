"""What `benchmarks.streams` runs against: a database with a few jobs, and the API in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID

from sqlalchemy import text

from domain import api_keys, db
from domain.ids import to_public
from migrations import upgrade
from tests import factories
from tests.servers import end_with_parent, free_port

ROOT = Path(__file__).parents[1]
_START_S = 60.0


@dataclass(frozen=True)
class Watched:
    """A project, its key and its jobs."""

    project_id: UUID
    token: str
    public: dict[UUID, str]

    @property
    def job_uuids(self) -> list[UUID]:
        return list(self.public)

    @property
    def job_ids(self) -> list[str]:
        return list(self.public.values())

    def connections(self) -> int:
        """How many the database has now, this process's own included."""
        with db.read() as session:
            return int(
                session.scalars(
                    text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                ).one()
            )


@dataclass(frozen=True)
class Api:
    """The process of the API."""

    port: int
    pid: int

    def rss_bytes(self) -> int:
        """Its resident memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        [kib] = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
        return int(kib) * 1024

    def cpu_s(self) -> float:
        """The processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def prepare(database_url: str, redis_url: str, *, objects: Path, job_count: int) -> Watched:
    """Every table, a project with a key, and its jobs; the settings of this process name them from now on."""
    os.environ.update(  # noqa: TID251 (read by domain.settings, here and in the API)
        {
            "VADER_DATABASE_URL": database_url,
            "VADER_REDIS_URL": redis_url,
            "VADER_OBJECT_STORE": f"folder://{objects}",
            # One key opens all streams within a minute.
            "VADER_RATE_LIMIT_REQUESTS": "0",
            "VADER_RATE_LIMIT_PROJECT": "0",
            "VADER_STREAMS": "100000",
            "VADER_STREAMS_OF_PROJECT": "100000",
        }
    )
    upgrade(database_url)
    with db.transaction() as session:
        project = factories.project(session)
        _, token = api_keys.create(session, project_id=project.id, name="streams")
        jobs = [factories.job(session, project.id).id for _ in range(job_count)]
    return Watched(project.id, token, {job_id: to_public("job", job_id) for job_id in jobs})


@contextmanager
def running_api() -> Iterator[Api]:
    """The API with the settings of this process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "--port", str(port)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    )
    try:
        _wait(port, process)
        yield Api(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + _START_S
    while True:
        try:
            urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)
        else:
            return
