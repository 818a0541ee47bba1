from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from domain import db, queue
from domain.errors import Unavailable
from domain.settings import Settings
from tests import lives, servers

ROOT = Path(__file__).parents[2]


def waiting_bells(redis_url: str) -> int:
    queue.forget()
    with redis.Redis.from_url(redis_url) as client:
        return int(client.llen(queue.QUEUE))


def test_a_bell_names_the_job_and_nothing_else(settings: Settings, redis_url: str) -> None:
    job_id = uuid4()
    queue.ring(job_id)
    queue.ring()
    assert waiting_bells(redis_url) == 2
    with redis.Redis.from_url(redis_url) as client:
        bells = b"".join(client.lrange(queue.QUEUE, 0, -1)).decode()
    assert str(job_id) in bells
    assert queue.TASK in bells


def test_a_bell_rings_after_the_commit_and_never_for_a_rollback(
    settings: Settings, redis_url: str
) -> None:
    with db.read() as rolled_back:
        lives.factories.job(rolled_back, lives.factories.project(rolled_back).id)
    assert waiting_bells(redis_url) == 0
    lives.waiting()
    assert waiting_bells(redis_url) == 1


def test_messages_are_acknowledged_early_and_results_are_not_kept(settings: Settings) -> None:
    conf = queue.app().conf
    assert not conf.task_acks_late
    assert conf.task_ignore_result
    assert conf.result_backend is None
    assert conf.broker_transport_options["socket_timeout"] == 10
    queue.ping()


def test_a_dead_redis_neither_holds_up_nor_breaks_a_submit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"redis://127.0.0.1:{servers.free_port()}/0"
    with lives.changed_settings(monkeypatch, redis_url=dead):
        queue.app.cache_clear()
        began = time.monotonic()
        assert lives.waiting().status == "queued"
        with pytest.raises(Unavailable):
            queue.ping()
        assert time.monotonic() - began < 5
        queue.forget()


def test_a_frozen_redis_neither_holds_up_nor_breaks_a_submit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.redis_server() as url, lives.changed_settings(monkeypatch, redis_url=url):
        queue.app.cache_clear()
        pid = process_id(url)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        assert lives.waiting().status == "queued"
        assert time.monotonic() - began < 5
        with pytest.raises(Unavailable):
            queue.ping()
        os.kill(pid, signal.SIGCONT)
        assert waiting_bells(url) == 1


def test_a_process_with_unsent_bells_ends_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.redis_server() as url, lives.changed_settings(monkeypatch, redis_url=url):
        os.kill(pid := process_id(url), signal.SIGSTOP)
        code = "from domain import queue; [queue.ring() for _ in range(3000)]"
        try:
            done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120, check=False)
        finally:
            os.kill(pid, signal.SIGCONT)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("given", "broker"),
    [
        ("redis://:p@h:1/0", "redis://:p@h:1/0"),
        ("rediss://h:1/0", "rediss://h:1/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock"),
    ],
)
def test_a_socket_has_celerys_name_for_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, given: str, broker: str
) -> None:
    with lives.changed_settings(monkeypatch, redis_url=given):
        queue.app.cache_clear()
        assert queue.app().conf.broker_url == broker
        queue.app.cache_clear()


def process_id(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])
