"""Runs one command and lets nothing of its process tree outlive the process that asked for it.

    supervisor (Celery worker) -> keeper -> trainer -> whatever the trainer starts

`python -m worker.keeper PARENT_PID COMMAND...`: the keeper leads a session of its own, adopts every
orphan of the tree, and kills the tree when its parent dies (by the kernel's parent-death signal, which
alone would reach one process only), when it gets SIGUSR1, and when the command has ended. SIGTERM and
SIGINT go on to the command. Its exit status is the command's, or 128 + n when signal n ended it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

import psutil

KILL_TREE = signal.SIGUSR1
NOT_STARTED = 127
_FORWARDED = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> int:
    parent, command = int(arguments[0]), list(arguments[1:])
    signal.signal(KILL_TREE, _kill_tree_and_exit)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_PDEATHSIG, KILL_TREE)
    if os.getppid() != parent:  # It died before the kernel was told to report that.
        return NOT_STARTED
    child = _start(command)
    status = _wait_for(child)
    kill_descendants()
    return 128 - status if status < 0 else status


def kill_descendants() -> None:
    """SIGKILLs and reaps every descendant, also those that appear meanwhile.

    Killing a child hands its own children to this process, so that direct children are enough.
    """
    me = psutil.Process()
    while children := me.children():
        for child in children:
            child.kill()
        for child in children:
            _reap(child.pid)
        time.sleep(0.01)


def _start(command: list[str]) -> int:
    """Forks by hand: the signals that are passed on wait until the child's id is known."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        _become(command, keeper)
    for number in _FORWARDED:
        signal.signal(number, lambda received, _frame: _pass_on(child, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
    return child


def _become(command: list[str], keeper: int) -> None:
    """In the child: dies with the keeper and turns into `command`. Never returns."""
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        if os.getppid() == keeper:
            os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(NOT_STARTED)


def _wait_for(child: int) -> int:
    """The child's exit status (-n for signal n). Reaps adopted processes that end before it."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        return  # Reaped by the wait that this interrupted.


def _pass_on(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except ProcessLookupError:
        return  # It has ended; the main line is about to see that.


def _kill_tree_and_exit(number: int, _frame: FrameType | None) -> None:
    kill_descendants()
    os._exit(128 + signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
