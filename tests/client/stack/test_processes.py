from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from client.stack.errors import StartFailed, StopAsked
from client.stack.folder import open_folder
from client.stack.processes import Child, Command, clear_leftovers, remember, run_once

DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
)
SLEEP = "time.sleep(60)"
FORK = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "


def _python(code: str, **more: object) -> Command:
    return Command("it", [sys.executable, "-c", code], **more)  # type: ignore[arg-type]


def _soon(done: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    return done()


def _gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_child_that_does_not_stop_in_time_is_killed_with_its_tree(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child(_python(FORK + DEAF + SLEEP, stop_s=0.3), log)
    assert _soon(lambda: log.read_text() == "up\n")
    below = psutil.Process(child.pid).children()
    child.stop(hurry=threading.Event())
    assert child.exit_status == -signal.SIGKILL
    assert len(below) == 1
    assert _gone(below[0])


def test_hurry_cuts_the_wait_short(tmp_path: Path) -> None:
    log, hurry = tmp_path / "log", threading.Event()
    child = Child(_python(DEAF + SLEEP, stop_s=60.0), log)
    assert _soon(lambda: log.read_text() == "up\n")
    hurry.set()
    child.stop(hurry=hurry)
    assert child.exit_status == -signal.SIGKILL


def test_a_child_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent_code = (
        "import sys, time; from pathlib import Path; from client.stack.processes import *\n"
        f"child = Child(Command('it', [sys.executable, '-c', 'import time; time.sleep(60)']), Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    assert not _gone(child)
    parent.kill()
    parent.communicate()
    assert _soon(lambda: _gone(child))


def test_what_a_killed_stack_left_is_ended_by_the_next_start(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    left = Child(_python(DEAF + SLEEP), folder.log("it"))
    remember(folder, [left])
    clear_leftovers(folder, grace_s=0.1)
    assert left.exit_status is not None
    assert not folder.processes.exists()


def test_a_process_that_merely_has_the_old_id_is_left_alone(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "data")
    other = Child(_python("import time; " + SLEEP), folder.log("it"))
    text = f'{{"processes": [{{"name": "it", "pid": {other.pid}, "created": 1.0}}]}}'
    folder.processes.write_text(text)
    clear_leftovers(folder, grace_s=0.1)
    assert other.exit_status is None
    other.stop(hurry=threading.Event())


def test_a_command_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    command = _python("import sys; print('because of this'); sys.exit(7)")
    with pytest.raises(StartFailed, match=r"(?s)exit status 7.*because of this"):
        run_once(command, tmp_path / "log", stop=threading.Event(), within_s=20)


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    command = _python("import time; " + SLEEP)
    with pytest.raises(StartFailed, match="took longer"):
        run_once(command, tmp_path / "log", stop=threading.Event(), within_s=0.2)


def test_a_signal_ends_a_command_at_once(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StopAsked):
        run_once(_python("import time; " + SLEEP), tmp_path / "log", stop=stop, within_s=60)


def test_output_can_be_kept_apart_from_the_log(tmp_path: Path) -> None:
    command = _python("import sys; print('out'); print('log', file=sys.stderr)")
    run_once(
        command,
        tmp_path / "log",
        stop=threading.Event(),
        within_s=20,
        output=tmp_path / "output",
    )
    assert (tmp_path / "output").read_text() == "out\n"
    assert (tmp_path / "log").read_text() == "log\n"
