"""The API as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import httpx
from fastapi.testclient import TestClient

from tests import servers
from tests.api.teams import Team, post_job


def test_the_process_serves_and_ends_soon_though_a_stream_is_open(
    client: TestClient, team: Team
) -> None:
    path = post_job(client)["links"]["events"]
    port = servers.free_port()
    command = [sys.executable, "-m", "api", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/readyz")
        headers = {**team.headers, "Accept": "text/event-stream"}
        with httpx.stream("GET", url + path, headers=headers, timeout=20) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 3000"
            process.send_signal(signal.SIGTERM)
            assert any(line == "event: job.queued" for line in lines)
            assert list(lines)[-1] == ""
        assert process.wait(timeout=10) in {0, -signal.SIGTERM}
        assert process.stderr is not None
        log = process.stderr.read()
    assert f"api.access GET '{path}' 200" in log
    assert team.token not in log


def wait_for(url: str) -> None:
    give_up_at = time.monotonic() + 30
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            assert time.monotonic() < give_up_at, "the server did not come up"
        time.sleep(0.1)
