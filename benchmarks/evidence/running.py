"""Runs trainings as processes of the bare trainer, a few at a time, each once, within a time budget."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.evidence import records
from benchmarks.evidence.cells import Cell
from benchmarks.evidence.records import Point, Record
from vader_core.errors import EXIT_INTERRUPTED
from vader_core.lines import AnyLine, Done, Failed, parse

ROOT = Path(__file__).parents[2]
# Of a training whose like has not been run yet: loading and evaluations, and seconds a query.
_OVERHEAD_S = 25.0
_SECONDS_PER_QUERY = {"tiny-wan": 0.25, "tiny-unet": 0.6}

# Trains one cell in a folder and says what it showed; None where another try may show more.
Train = Callable[[Cell, Path], Record | None]


class Interrupted(Exception):
    """A training was stopped from outside: no other is begun."""


@dataclass(frozen=True)
class _Ended:
    """How a process ended: its exit status, its last line, and the processor's time it had."""

    status: int
    last: AnyLine | None
    cpu_seconds: float


class Trainer:
    """The bare trainer, one process for each training."""

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def __call__(self, cell: Cell, run: Path) -> Record | None:
        """Begins the training in `run`, or goes on with one that was interrupted there.

        Raises `Interrupted`; the training can be gone on with.
        """
        if self._stopped:
            raise Interrupted(cell.title)
        run.mkdir(parents=True, exist_ok=True)
        spec = run / "asked.json"
        spec.write_text(json.dumps(cell.spec, indent=2), encoding="utf-8")
        began = time.monotonic()
        ended = self._train(spec, run)
        if self._stopped or ended.status == EXIT_INTERRUPTED:
            raise Interrupted(cell.title)
        last, wall_seconds = ended.last, time.monotonic() - began
        record = Record(
            stop_reason=last.stop_reason if isinstance(last, Done) else None,
            error=f"{last.code}: {last.message}" if isinstance(last, Failed) else None,
            wall_seconds=wall_seconds,
            core_share=ended.cpu_seconds / wall_seconds,
            points=_points(run),
        )
        failed_for_good = isinstance(last, Failed) and not last.retryable
        if record.points and (isinstance(last, Done) or failed_for_good):
            return record
        sys.stderr.write(f"{cell.title}: exit status {ended.status}, {record.error or 'no end'}\n")
        return None

    def _train(self, spec: Path, run: Path) -> _Ended:
        command = [sys.executable, "-m", "vader_core", "train", str(spec), "--out", str(run)]
        command += ["--threads", str(self._threads), "--device", "auto", "--resume"]
        with (run / "lines.jsonl").open("ab") as lines, (run / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=lines, stderr=log, cwd=ROOT)
            self._processes.add(process)
            # Not `process.wait`, which does not tell of the processor's time.
            _, ended, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(ended)
            self._processes.discard(process)
        texts = (run / "lines.jsonl").read_text(encoding="utf-8").splitlines()
        last = parse(texts[-1]) if texts else None
        return _Ended(process.returncode, last, usage.ru_utime + usage.ru_stime)

    def stop(self) -> None:
        """Asks every trainer to write a checkpoint and end."""
        self._stopped = True
        for process in list(self._processes):
            # Not `process.terminate`, which may reap a process that has just ended before `os.wait4` does.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)


def _points(run: Path) -> list[Point]:
    """The evaluations in a run's folder."""
    metrics = run / "metrics.jsonl"
    texts = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    return records.points(parse(text) for text in texts)


class Runs:
    """The folder of all trainings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, cell: Cell) -> Path:
        return self.folder / cell.run

    def record(self, cell: Cell) -> Record | None:
        return records.read(self.of(cell))

    def missing(self, cells: Sequence[Cell]) -> list[Cell]:
        """The cells without a record, each training once, in order."""
        first: dict[str, Cell] = {}
        for cell in cells:
            first.setdefault(cell.run, cell)
        return [cell for cell in first.values() if self.record(cell) is None]

    def seconds(self, cell: Cell, cells: Sequence[Cell]) -> float:
        """How long the cell will take: as long as the longest of its like so far."""
        like = [
            record.wall_seconds
            for other in cells
            if _kind(other) == _kind(cell) and (record := self.record(other)) is not None
        ]
        guess = _OVERHEAD_S + cell.queries * _SECONDS_PER_QUERY[cell.base_model]
        return max(like, default=guess)


def _kind(cell: Cell) -> tuple[str, str, str, int]:
    return cell.study, cell.label, cell.base_model, cell.queries


class Queue:
    """The trainings that wait, most important first; hands out those that end in time."""

    def __init__(
        self, cells: Sequence[Cell], *, seconds: Callable[[Cell], float], until: float
    ) -> None:
        self._waiting = deque(cells)
        self._seconds, self._until = seconds, until
        self._lock = threading.Lock()

    def take(self) -> Cell | None:
        """The next one whose end lies before `until` (of `time.monotonic`); None when there is none."""
        with self._lock:
            while self._waiting:
                cell = self._waiting.popleft()
                if time.monotonic() + self._seconds(cell) <= self._until:
                    return cell
        return None

    def close(self) -> None:
        """Hands out nothing more."""
        with self._lock:
            self._waiting.clear()


def train_all(cells: Sequence[Cell], runs: Runs, train: Train, *, jobs: int, until: float) -> None:
    """Trains what is missing, `jobs` at a time, and keeps a record of each.

    A training that fails for a reason that may pass is left without a record. Raises `Interrupted`.
    """
    queue = Queue(runs.missing(cells), seconds=lambda cell: runs.seconds(cell, cells), until=until)

    def work() -> None:
        while (cell := queue.take()) is not None:
            record = train(cell, runs.of(cell))
            if record is not None:
                records.write(runs.of(cell), record)
                _say(cell, record, left=len(runs.missing(cells)))

    with ThreadPoolExecutor(jobs) as pool:
        working = [pool.submit(work) for _ in range(jobs)]
        try:
            for future in as_completed(working):
                future.result()
        finally:
            queue.close()


def _say(cell: Cell, record: Record, *, left: int) -> None:
    found = record.error or (
        f"{record.start.heldout_reward:.3f} -> {record.final.heldout_reward:.3f}"
    )
    sys.stderr.write(f"{cell.title}: {found} in {record.wall_seconds:.0f} s; {left} left\n")
