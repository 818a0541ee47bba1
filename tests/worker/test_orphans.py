from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from worker import orphans
from worker.orphans import Mark


@contextmanager
def marked(mark: Mark) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(300)"]
    environment = {**os.environ, **mark.environment()}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_process_whose_supervisor_is_gone_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    with marked(Mark(str(uuid4()), 1, f"{ended.pid}:1.0")) as process:
        assert orphans.reap() >= 1
        assert process.wait(5) == -9


def test_a_reused_process_id_is_not_taken_for_the_supervisor() -> None:
    with marked(Mark(str(uuid4()), 1, f"{os.getpid()}:1.0")) as process:
        orphans.reap()
        assert process.wait(5) == -9


def test_a_process_whose_supervisor_lives_is_left_alone() -> None:
    with marked(Mark(str(uuid4()), 1, orphans.this_process())) as process:
        orphans.reap()
        assert process.poll() is None


def test_only_the_attempt_that_is_named_is_killed() -> None:
    job = str(uuid4())
    first, second = (Mark(job, attempt, orphans.this_process()) for attempt in (1, 2))
    with marked(first) as ended, marked(second) as spared:
        assert orphans.kill_marked(first) == 1
        assert ended.wait(5) == -9
        assert spared.poll() is None
