"""`vader up` as a process of its own, and what runs on its folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psutil

START_S = 90.0


class Up:
    """A `vader up` on a data folder; leaving the block kills it if it still runs."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        words = [sys.executable, "-m", "client", "up", "--json", "--data-dir", str(data_dir)]
        self.process = subprocess.Popen(
            [*words, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Up:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def ready(self) -> dict[str, str]:
        """Its first line, once ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.ended()
        document: dict[str, str] = json.loads(line)
        return document

    def ended(self) -> tuple[int, str, str]:
        """Exit status, the rest of stdout, and stderr, once it has ended."""
        out, err = self.process.communicate(timeout=START_S)
        return self.process.returncode, out, err

    def stop(self, number: signal.Signals) -> tuple[int, str, str]:
        """Sends the signal and waits for the end."""
        self.process.send_signal(number)
        return self.ended()


def running_on(data_dir: Path) -> list[str]:
    """The command lines of all processes that have to do with the folder, zombies apart."""
    return [" ".join(words) for _, words in _found_on(data_dir)]


def processes_on(data_dir: Path) -> list[psutil.Process]:
    return [process for process, _ in _found_on(data_dir)]


def _found_on(data_dir: Path) -> list[tuple[psutil.Process, list[str]]]:
    """Each with its command line as it was at this look: a moment later it may be gone."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            told = [*words, *process.environ().values()]
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and any(str(data_dir) in text for text in told):
            found.append((process, words))
    return found


def soon(done: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + within_s
    while not done() and time.monotonic() < end:
        time.sleep(0.05)
    return done()
