"""Child processes that cannot outlive this one, and that are stopped as a whole tree."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from client.stack.errors import StartFailed, StopAsked
from client.stack.folder import DataFolder, read_json, write_private

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL_S = 0.05
_KILLED_S = 5.0


@dataclass(frozen=True)
class Command:
    """A process to run. `user` is the system user to become, None for our own.

    `stop_signal` asks for an orderly end, and `stop_s` is how long that may take before the whole tree is
    killed. `orphan_signal` is what the kernel sends should this process be killed.
    """

    name: str
    words: Sequence[str]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 10.0
    orphan_signal: signal.Signals = signal.SIGKILL
    user: str | None = None
    cwd: Path = Path("/")


class Child:
    """A running process with its log, which takes stdout too unless `output` does.

    To be made on the main thread: the kernel ties a child's life to the thread that started it.
    """

    def __init__(self, command: Command, log: Path, *, output: Path | None = None) -> None:
        self.command, self.log = command, log
        with log.open("ab") as errors, (output or log).open("ab") as sink:
            self._process = subprocess.Popen(  # noqa: S603
                list(command.words),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=errors,
                cwd=command.cwd,
                user=command.user,
                group=command.user,
                extra_groups=None if command.user is None else [],
                start_new_session=True,
                preexec_fn=_tied_to(os.getpid(), command.orphan_signal),
            )

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self, *, hurry: threading.Event) -> None:
        """Asks for the end, waits, then kills what is left of the tree; at once when `hurry` is set."""
        tree: list[psutil.Process] = []
        if self.exit_status is None:
            tree = _tree(self.pid)
            self._process.send_signal(self.command.stop_signal)
            end = time.monotonic() + self.command.stop_s
            while self.exit_status is None and time.monotonic() < end and not hurry.is_set():
                time.sleep(_POLL_S)
        if self.exit_status is None:
            tree += _tree(self.pid)
            self._process.kill()
        kill(tree)
        self._process.wait()


def _tied_to(parent: int, orphan_signal: signal.Signals) -> Callable[[], None]:
    """What a child runs before its program: asks the kernel for `orphan_signal` when `parent` dies.

    It runs after the change of user, which would undo it.
    """

    def tie() -> None:
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return tie


def run_once(
    command: Command,
    log: Path,
    *,
    stop: threading.Event,
    within_s: float,
    output: Path | None = None,
) -> None:
    """Runs a command to its end. Raises `StartFailed` when it fails or takes longer, `StopAsked`."""
    child = Child(command, log, output=output)
    try:
        wait_until(lambda: child.exit_status is not None, stop=stop, within_s=within_s)
    except TimeoutError as error:
        raise StartFailed(f"{command.name} took longer than {within_s:.0f} s.", log) from error
    finally:
        child.stop(hurry=stop)
    if child.exit_status != 0:
        raise StartFailed(f"{command.name} failed with exit status {child.exit_status}.", log)


def wait_until(done: Callable[[], bool], *, stop: threading.Event, within_s: float) -> None:
    """Waits until `done()`. Raises `TimeoutError` after `within_s` seconds, `StopAsked` once `stop` is set."""
    end = time.monotonic() + within_s
    while not done():
        if stop.wait(_POLL_S):
            raise StopAsked("stopped while starting")
        if time.monotonic() > end:
            raise TimeoutError


def remember(folder: DataFolder, children: Sequence[Child]) -> None:
    """Writes down which processes run, for a later start after a kill."""
    rows = [
        {"name": child.command.name, "pid": process.pid, "created": process.create_time()}
        for child in children
        for process in _tree(child.pid)[:1]
    ]
    write_private(folder.processes, json.dumps({"processes": rows}))


def clear_leftovers(folder: DataFolder, *, grace_s: float) -> None:
    """Waits for the processes of a killed stack on this folder to end, and kills those that do not."""
    rows = read_json(folder.processes).get("processes")
    leftovers = [
        process
        for row in (rows if isinstance(rows, list) else [])
        for process in _same_tree(row["pid"], created=row["created"])
    ]
    end = time.monotonic() + grace_s
    while any(map(_is_alive, leftovers)) and time.monotonic() < end:
        time.sleep(_POLL_S)
    kill(leftovers)
    folder.processes.unlink(missing_ok=True)


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kills the processes and waits until they are gone; psutil refuses ids that were given anew."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    end = time.monotonic() + _KILLED_S
    while any(map(_is_alive, processes)) and time.monotonic() < end:
        time.sleep(_POLL_S)


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs. A zombie does not, and where nothing reaps orphans it stays for ever."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tree(pid: int) -> list[psutil.Process]:
    """The process and all below it; empty when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _same_tree(pid: int, *, created: float) -> list[psutil.Process]:
    """The tree of `pid` if that is still the process made at `created`, and not another with its id."""
    tree = _tree(pid)
    return tree if tree and abs(tree[0].create_time() - created) < 1.0 else []
