from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from domain import claims, db, jobs
from domain.settings import Settings, get_settings
from tests import factories
from tests.worker.conftest import set_short_times
from tests.worker.waiting import wait_until


@contextmanager
def sweeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "worker.sweeper"]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_takes_back_a_lease_that_ran_out_and_ends_when_asked(
    worker_settings: Settings, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    set_short_times(monkeypatch, lease_s=1, heartbeat_s=0.2, self_fence_s=0.5)
    get_settings.cache_clear()
    with db.transaction() as session:
        project_id = factories.project(session).id
        job_id = factories.job(session, project_id).id
        assert claims.claim(session, worker="tests:1", hardware="CPU") is not None

    def status() -> str:
        with db.read() as session:
            return jobs.get(session, project_id=project_id, job_id=job_id).status

    with sweeper() as process:
        wait_until(lambda: status() == "queued", within_s=60)
        process.send_signal(number)
        assert process.wait(5) == 0
