"""`vader up` over real processes: servers, service, and what a user does to them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from client import VaderClient
from client.command import EXIT_ERROR
from client.commands.jobs import EXIT_BY_STATUS
from client.models import Job
from tests.client import small_job
from tests.client.stacks import Up, processes_on, running_on, soon
from tests.vader_core import small_videos
from tests.vader_core.small_videos import RED


def _vader(data_dir: Path, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "client", *words, "--data-dir", str(data_dir)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


def _score_of_a_file(data_dir: Path, folder: Path) -> float:
    film = small_videos.write(folder / "a.mp4", small_videos.frames_of(RED))
    words = ("rewards", "score", "tiny-text-match", str(film), "--prompt", "a red square")
    tried = _vader(data_dir, *words, "--json")
    assert tried.returncode == 0, tried.stderr
    (score,) = json.loads(tried.stdout)["scores"]
    return float(score)


def _killed(data_dir: Path, part: str) -> psutil.Process:
    """The process on the folder whose command line has `part`, killed."""
    (process,) = [it for it in processes_on(data_dir) if part in " ".join(it.cmdline())]
    process.kill()
    return process


@pytest.mark.timeout(600)
def test_a_stack_starts_serves_survives_and_leaves_nothing_behind(
    data_dir: Path, tmp_path: Path
) -> None:
    # More steps than it can do before it is cancelled.
    job_file = small_job.written(tmp_path, steps=5000)
    with Up(data_dir) as up:
        first = up.ready()
        assert first["data_dir"] == str(data_dir)
        credentials = data_dir / "credentials.json"
        assert credentials.stat().st_mode & 0o777 == 0o600
        assert json.loads(credentials.read_text())["api_key"] == first["api_key"]

        # A second one on the same folder.
        with Up(data_dir) as second:
            status, out, err = second.ended()
        assert (status, out) == (EXIT_ERROR, "")
        assert f"(process {up.process.pid})" in err
        assert "--data-dir" in err

        # A process that dies is restarted.
        _killed(data_dir, "-m api")
        assert soon(lambda: _is_ready(first["url"]))

        # Stopped in the middle of a job.
        created = _vader(data_dir, "jobs", "create", "-f", str(job_file), "--json")
        job = Job.model_validate_json(created.stdout)
        with VaderClient(first["url"], first["api_key"]) as vader:
            assert soon(lambda: vader.job(job.id).status != "queued")
        status, out, _ = up.stop(signal.SIGTERM)
        assert (status, out) == (0, "")
        assert running_on(data_dir) == []

    # Started again on the same folder it goes on where it was.
    with Up(data_dir) as up:
        again = up.ready()
        assert again["api_key"] == first["api_key"]
        with VaderClient(again["url"], again["api_key"]) as vader:
            events = vader.events(job.id)
            assert any(event.type == "job.attempt_restarted" for event in events)

        # A reward is tried on a file while the job trains.
        assert _score_of_a_file(data_dir, tmp_path) > 0
        assert _vader(data_dir, "jobs", "cancel", job.id).returncode == 0
        watched = _vader(data_dir, "jobs", "watch", job.id)
        assert watched.returncode == EXIT_BY_STATUS["cancelled"], watched.stdout
        # Killed itself, it takes everything along.
        up.process.kill()
        assert soon(lambda: running_on(data_dir) == []), running_on(data_dir)

    # A start after a kill goes on too.
    with Up(data_dir) as up:
        once_more = up.ready()
        with VaderClient(once_more["url"], first["api_key"]) as vader:
            assert vader.job(job.id).status == "cancelled"
        status, _, _ = up.stop(signal.SIGINT)
        assert status == 0
        assert running_on(data_dir) == []


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


def test_a_port_in_use_is_told_and_nothing_is_left(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Up(data_dir, "--port", str(port)) as up:
            status, out, err = up.ended()
    assert (status, out) == (EXIT_ERROR, "")
    assert f"Port {port} is in use" in err
    assert running_on(data_dir) == []


def test_a_signal_while_starting_ends_the_start(data_dir: Path) -> None:
    with Up(data_dir) as up:
        assert soon(lambda: any("initdb" in line for line in running_on(data_dir)))
        status, out, _ = up.stop(signal.SIGTERM)
    assert (status, out) == (0, "")
    assert running_on(data_dir) == []


def test_a_server_that_cannot_start_shows_the_end_of_its_log(data_dir: Path) -> None:
    (data_dir / "redis").mkdir(parents=True)
    (data_dir / "redis" / "appendonly.aof").write_text("not what Redis has written")
    with Up(data_dir) as up:
        status, out, err = up.ended()
    assert (status, out) == (EXIT_ERROR, "")
    assert "redis ended with status" in err
    assert "Bad file format" in err
    assert running_on(data_dir) == []
