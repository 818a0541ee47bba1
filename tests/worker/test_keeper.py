from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.worker.waiting import wait_until

# Starts two processes in sessions of their own, so that neither a group nor a parent id leads to them.
TREE = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
first = subprocess.Popen(sleeper, start_new_session=True)
if os.fork() == 0:
    second = subprocess.Popen(sleeper, start_new_session=True)
    print(second.pid, flush=True)
    os._exit(0)
os.wait()
print(first.pid, os.getpid(), flush=True)
"""


@contextmanager
def keeper(code: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "worker.keeper", str(os.getpid()), sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def tree_of(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    return [int(word) for _ in range(2) for word in process.stdout.readline().split()]


def is_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_the_exit_status_is_the_commands() -> None:
    with keeper("raise SystemExit(12)") as process:
        assert process.wait(10) == 12


def test_a_command_ended_by_a_signal_gives_128_and_the_signal() -> None:
    with keeper("import os; os.kill(os.getpid(), 11)") as process:
        assert process.wait(10) == 128 + signal.SIGSEGV


def test_a_command_that_cannot_be_started_gives_127() -> None:
    command = [sys.executable, "-m", "worker.keeper", str(os.getpid()), "/no/such/command"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert ended.returncode == 127
    assert "/no/such/command" in ended.stderr


def test_nothing_is_started_for_a_parent_that_is_gone() -> None:
    command = [sys.executable, "-m", "worker.keeper", "1", sys.executable, "-c", "print('up')"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert ended.returncode == 127
    assert ended.stdout == ""


def test_sigterm_goes_on_to_the_command() -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True)\n"
        "time.sleep(300)"
    )
    with keeper(code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 3


def test_asked_to_kill_the_tree_it_kills_all_of_it() -> None:
    with keeper(TREE + "time.sleep(300)") as process:
        tree = tree_of(process)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == 128 + signal.SIGKILL
        assert is_gone(tree)


def test_what_the_command_leaves_behind_is_killed() -> None:
    with keeper(TREE) as process:
        tree = tree_of(process)
        assert process.wait(10) == 0
        assert is_gone(tree)


def test_the_whole_tree_dies_when_the_parent_is_killed() -> None:
    code = TREE + "time.sleep(300)"
    parent_code = (
        "import subprocess, sys, os\n"
        "keeper = [sys.executable, '-m', 'worker.keeper', str(os.getpid()), sys.executable, '-c']\n"
        f"subprocess.run([*keeper, {code!r}])"
    )
    command = [sys.executable, "-c", parent_code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        tree = tree_of(parent)
        parent.kill()
        parent.wait()
        wait_until(lambda: is_gone(tree), within_s=5)
