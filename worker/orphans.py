"""Finds and kills processes of trainers by the marker that every one of them inherits.

The marker names the job, the attempt and the supervisor (process id and start time, so that a reused
id is not taken for it). A marked process whose supervisor is gone is an orphan.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

log = logging.getLogger(__name__)
PATIENCE_S = 5.0
JOB, ATTEMPT, SUPERVISOR = "VADER_JOB_ID", "VADER_ATTEMPT", "VADER_SUPERVISOR"


@dataclass(frozen=True)
class Mark:
    """Whose process it is. `supervisor` is "<process id>:<start time>"."""

    job_id: str
    attempt: int
    supervisor: str

    def environment(self) -> dict[str, str]:
        return {JOB: self.job_id, ATTEMPT: str(self.attempt), SUPERVISOR: self.supervisor}


def this_process() -> str:
    """How this process is named in a mark."""
    me = psutil.Process()
    return f"{me.pid}:{me.create_time()}"


def is_alive(supervisor: str) -> bool:
    """Whether the process that `supervisor` names still runs."""
    pid, _, started = supervisor.partition(":")
    try:
        process = psutil.Process(int(pid))
        return str(process.create_time()) == started and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False


def kill_marked(mark: Mark) -> int:
    """Kills every process with exactly this mark, again and again until none is left; how many."""
    return _kill_all(lambda found: found == mark)


def reap() -> int:
    """Kills every marked process whose supervisor is dead; how many."""
    killed = _kill_all(lambda found: not is_alive(found.supervisor))
    if killed:
        log.warning("killed %d orphaned trainer processes", killed)
    return killed


def _kill_all(wanted: Callable[[Mark], bool]) -> int:
    """SIGKILLs until a look finds nothing: a process may start another between look and kill."""
    killed: set[int] = set()
    give_up_at = time.monotonic() + PATIENCE_S
    while found := [process for process, mark in marked() if wanted(mark)]:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            killed.add(process.pid)
        if time.monotonic() > give_up_at:
            log.error("these processes do not die: %s", [process.pid for process in found])
            break
        time.sleep(0.02)
    return len(killed)


def marked() -> Iterator[tuple[psutil.Process, Mark]]:
    """Every live process that carries a mark. A dead one that waits to be reaped carries none."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if SUPERVISOR not in environment:
                continue
            attempt = int(environment[ATTEMPT])
        except (psutil.Error, KeyError, ValueError):
            continue  # It has just ended, belongs to somebody else, or was not marked by us.
        yield process, Mark(environment.get(JOB, ""), attempt, environment[SUPERVISOR])
