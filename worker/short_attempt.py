"""The life of one attempt at a short task: fetch its files, run a command of `vader_core`, store what it made.

The process is supervised as a trainer is: a keeper lets nothing of it outlive this process, and it is
killed when the attempt's hold is lost (also because somebody cancelled the task), when its time is up, or
when this worker must end.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic

from domain.errors import ArtifactExpired, ChecksumMismatch, Unavailable
from domain.settings import trainer_environment
from domain.short_tasks import Row, ShortTasks
from domain.tables import Json
from vader_core.failure import Failure
from vader_core.lines import File
from worker import orphans, transfer
from worker.attempt import LOOK_S, Surroundings
from worker.hold import Hold, HoldLost
from worker.trainer_process import TrainerProcess
from worker.workspace import Folder

log = logging.getLogger(__name__)
_LAST_WORDS = 4000
_KILLED = 128 + signal.SIGKILL
_OUT = "out"


@dataclass(frozen=True)
class Input:
    """A stored file that the command needs at `path` below the request's folder."""

    path: str
    key: str
    sha256: str


@dataclass(frozen=True)
class Product:
    """What came of it: the row's columns, and the files to store under `prefix`, by their paths below `out`."""

    columns: Json
    files: Sequence[File] = ()
    prefix: str = ""


@dataclass(frozen=True)
class Work:
    """What is to be done for one row: `python -m vader_core <verb> request.json --out out <options>`.

    `worker` is what the process is called, `need_less` what to ask for where it needs too much. `read` takes
    the path of `out` and gives what the process wrote there; None where that is nothing to go by.
    """

    verb: str
    worker: str
    request: Json
    inputs: Sequence[Input]
    options: Mapping[str, object | None]
    limit_s: float
    need_less: str
    read: Callable[[Path], Product | Failure | None]


class ShortAttempt(Generic[Row]):
    """One attempt at `row`. `held_since` is the monotonic time just before the claim."""

    def __init__(
        self,
        tasks: ShortTasks[Row],
        row: Row,
        work: Callable[[Row], Work],
        around: Surroundings,
        *,
        held_since: float,
    ) -> None:
        self._tasks = tasks
        self._row = row
        self._make_work = work
        self._around, self._settings = around, around.settings
        self._folder = Folder(around.settings.work_dir, row.id, row.attempt)
        self._out = self._folder.root / _OUT
        self._hold = Hold(tasks, row, around.settings, held_since=held_since)
        self._stored: list[str] = []

    def run(self) -> None:
        """Does the work and writes down what came of it; leaves neither process nor folder.

        Whatever goes wrong with one task, this returns: the next one may be fine.
        """
        try:
            self._conclude(self._outcome())
        except HoldLost as lost:
            log.warning("%s: its hold is lost, nothing more is written", lost)
            self._forget_stored()
        finally:
            self._folder.remove()

    def _outcome(self) -> Product | Failure:
        """What came of it, whatever it was, its files stored. Raises `HoldLost`."""
        try:
            work = self._make_work(self._row)
            self._folder.make(supervisor=orphans.this_process())
            (self._folder.root / "request.json").write_text(
                json.dumps(work.request), encoding="utf-8"
            )
            self._fetch(work.inputs)
            outcome = self._run(work)
            if isinstance(outcome, Product):
                self._store(outcome)
            return outcome
        except HoldLost:
            raise
        except (ArtifactExpired, ChecksumMismatch) as error:
            return failure("file_lost", f"A stored file cannot be used: {error}")
        except Unavailable as error:
            return failure("storage_failed", f"The object store is away: {error}", again=True)
        except Exception as error:
            log.exception("%s could not be carried through", self._hold.name)
            what = f"The worker could not carry the attempt through ({type(error).__name__})."
            return failure("internal", what, hint="The worker's log says more.", again=True)

    def _conclude(self, outcome: Product | Failure) -> None:
        if isinstance(outcome, Product):
            self._hold.write(self._tasks.succeed, **outcome.columns)
        else:
            log.warning("%s: %s: %s", self._hold.name, outcome.code, outcome.message)
            self._hold.write(self._tasks.fail_attempt, error=outcome)

    def _fetch(self, inputs: Sequence[Input]) -> None:
        """Brings the stored files, checked by their sha256."""
        for one in inputs:
            path = transfer.inside(self._folder.root, one.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            download = partial(self._around.store.download, one.key, path, sha256=one.sha256)
            self._keeping_hold(download)

    def _store(self, product: Product) -> None:
        for file in product.files:
            path = transfer.inside(self._out, file.path)
            key = f"{product.prefix}/{file.path}"
            self._stored.append(key)
            self._keeping_hold(partial(transfer.send, self._around.store, key, path, file))

    def _forget_stored(self) -> None:
        """What a lost attempt stored belongs to nobody."""
        for key in self._stored:
            try:
                self._around.store.delete(key)
            except Unavailable:
                log.warning("the object %s stays behind: the store is away", key)

    def _keeping_hold(self, action: Callable[[], None]) -> None:
        """Does `action` in another thread, for a while also while the store is away. Raises `HoldLost`."""
        give_up_at = time.monotonic() + self._settings.upload_retry_s
        lost = False

        def give_up() -> bool:
            return lost or self._around.drain.is_set() or time.monotonic() > give_up_at

        with ThreadPoolExecutor(max_workers=1) as threads:
            doing = threads.submit(transfer.while_away, action, give_up=give_up)
            try:
                while not wait([doing], timeout=LOOK_S).done:
                    self._hold.keep()
            except HoldLost:
                lost = True
                raise
            doing.result()

    def _run(self, work: Work) -> Product | Failure:
        log_path = self._folder.root / "log.txt"
        mark = orphans.Mark(str(self._row.id), self._row.attempt, orphans.this_process())
        process = TrainerProcess(
            self._command(work),
            folder=self._folder.root,
            log_path=log_path,
            environment=trainer_environment(),
            mark=mark,
            on_line=lambda _line: None,
        )
        try:
            status = self._wait(process, work)
        finally:
            process.close()
        if isinstance(status, Failure):
            return status
        outcome = work.read(self._out)
        if isinstance(outcome, Failure) or (outcome is not None and status == 0):
            return outcome
        words = log_path.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
        log.warning("%s: the %s's last words:\n%s", self._hold.name, work.worker, words)
        return _broken(work, status)

    def _wait(self, process: TrainerProcess, work: Work) -> int | Failure:
        """The exit status; a failure when the process has to be killed. Raises `HoldLost`."""
        started = time.monotonic()
        must_end_at: float | None = None
        while (status := process.poll()) is None:
            self._hold.keep()
            now = time.monotonic()
            if now - started > work.limit_s:
                what = f"The {work.worker} took longer than {work.limit_s:.0f} s."
                return failure("time_limit", what, hint=work.need_less)
            if self._around.drain.is_set():
                must_end_at = must_end_at or now + self._settings.drain_grace_s
                if now > must_end_at:
                    return failure("worker_stopped", "The worker had to end.", again=True)
            time.sleep(LOOK_S)
        return status

    def _command(self, work: Work) -> list[str]:
        settings = self._settings
        options = {
            "--out": self._out,
            "--catalogue": settings.catalogue_file,
            "--weights": settings.weights_dir,
            **work.options,
        }
        given = [(name, str(value)) for name, value in options.items() if value is not None]
        words = [word for option in given for word in option]
        request = str(self._folder.root / "request.json")
        return [*settings.trainer_command, work.verb, request, *words]


def _broken(work: Work, status: int) -> Failure:
    """Of a process that ended with `status` and left nothing to go by."""
    if status == _KILLED:
        return failure(
            "host_out_of_memory",
            f"The {work.worker} was killed from outside, most likely because memory ran out.",
            hint=work.need_less,
        )
    what = f"The {work.worker} ended with exit status {status} and gave no result."
    hint = "The worker's log has its last words."
    return failure(f"{work.worker}_crashed", what, hint=hint, again=True)


def failure(code: str, message: str, *, hint: str = "", again: bool = False) -> Failure:
    """A failure of the platform; `again`: another attempt can help."""
    return Failure(code=code, message=message, hint=hint, fault="platform", retryable=again)
