"""The service's real processes for a test: API, workers and sweeper, each with its log in a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx
import redis

from domain import artifacts, db, jobs
from domain.queue import QUEUE
from domain.tables import Attempt, Job
from tests import factories, servers
from tests.worker.stand_in_gpu import path_with_gpu
from tests.worker.waiting import wait_until
from worker import orphans

# What a very busy machine may take; on an idle one all of it happens within a few seconds.
START_S = 60.0
END_S = 120.0


class Stack:
    """Starts processes with the environment of this one and kills all that are left at its end."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.redis_url = folder, redis_url
        self._processes: list[subprocess.Popen[bytes]] = []
        with db.transaction() as session:
            project = factories.project(session)
            self.project_id, self.api_key = project.id, factories.key(session, project.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        orphans.reap()

    def start(
        self, name: str, command: Sequence[str], **environment: str
    ) -> subprocess.Popen[bytes]:
        number = len(self._processes)
        with self.log(name, number).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                preexec_fn=servers.end_with_parent,
            )
        self._processes.append(process)
        return process

    def log(self, name: str, number: int) -> Path:
        return self.folder / f"{name}-{number}.log"

    def worker(
        self, *, wait: bool = True, gpu: tuple[str, int] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a worker that trains; `gpu` is the name and the GiB of one that it believes to have."""
        number = len(self._processes)
        environment = {}
        if gpu is not None:
            name, gib = gpu
            environment["PATH"] = path_with_gpu(self.folder / f"gpu-{gib}", name, gib=gib)
        command = ["-m", "celery", "-A", "worker.app", "worker", "-Q", QUEUE, "-l", "info"]
        process = self.start("worker", command, **environment)
        if wait:
            log = self.log("worker", number)
            wait_until(lambda: b"ready" in log.read_bytes(), within_s=START_S, what="worker")
        return process

    def sweeper(self) -> subprocess.Popen[bytes]:
        return self.start("sweeper", ["-m", "worker.sweeper"])

    def api(self, *, module: Sequence[str] = ("-m", "api")) -> str:
        """Starts the API, or `module` in its place, and gives its address once it answers."""
        port = servers.free_port()
        process = self.start("api", [*module, "--port", str(port)])
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, "the API ended"
            try:
                return httpx.get(f"{url}/livez", timeout=5).is_success
            except httpx.TransportError:
                return False

        wait_until(answers, within_s=START_S, what="API")
        return url

    def post_job(self, url: str, *, key: str, **changes: Any) -> httpx.Response:
        return httpx.post(
            f"{url}/v1/jobs",
            headers={"Authorization": f"Bearer {self.api_key}", "Idempotency-Key": key},
            json=factories.document(**changes),
            timeout=20,
        )

    def submit(self, **changes: Any) -> UUID:
        with db.transaction() as session:
            return factories.job(session, self.project_id, **changes).id

    def job(self, job_id: UUID) -> Job:
        with db.read() as session:
            return jobs.get(session, project_id=self.project_id, job_id=job_id)

    def attempts(self, job_id: UUID) -> list[Attempt]:
        with db.read() as session:
            return artifacts.attempts(session, job_id=job_id)

    def wait_for(self, job_id: UUID, status: str) -> Job:
        wait_until(lambda: self.job(job_id).status == status, within_s=END_S, what=f"job {status}")
        return self.job(job_id)

    def flush_redis(self) -> None:
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def waiting_hints(self) -> int:
        with redis.Redis.from_url(self.redis_url) as client:
            return int(client.llen(QUEUE))
